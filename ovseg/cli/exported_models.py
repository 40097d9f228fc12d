"""A model as a file for programs without ovseg: a function a kind, whose docstring is its help."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ovseg.errors import UserError

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    from ovseg.apis.segmenter import OpenVocabSegmenter


def onnx(args: argparse.Namespace) -> str:
    """A model as an ONNX file, for ONNX Runtime, OpenVINO and others.

    A model of any words takes `image` (1, 3, H, W), RGB in 0 to 255, and `rows` (P, D) of words,
    such as KIND rows writes, and gives `features` (1, D, h, w) and `scores` (1, P, h, w), their
    cosines: the vocabulary stays open. H, W and P are free, H and W multiples of the patch. A
    trained model takes the image alone, of one size, and gives the scores of its classes. The file
    is compared with the model before it appears; what is left out of the model (windows,
    refinements) stands in its metadata.
    """
    from ovseg.portable.writing import export_onnx

    _check_suffix(args, '.onnx')
    return export_onnx(_segmenter(args), args.out, _size(args))


def torch_export(args: argparse.Namespace) -> str:
    """A model as an archive of torch.export (OUT.pt2), which torch alone runs.

    Inputs and outputs are those of KIND onnx.
    """
    from ovseg.portable.writing import export_program

    _check_suffix(args, '.pt2')
    return export_program(_segmenter(args), args.out, _size(args))


def rows(args: argparse.Namespace) -> str:
    """The text rows of words (OUT.npz), which an exported model takes as an input.

    OUT.npz has rows (P, D), classes (P,), names (K,), logit_scale and text_space.
    """
    from ovseg.portable.arrays import export_rows

    _check_suffix(args, '.npz')
    return export_rows(_segmenter(args), args.words, args.out)


def features(args: argparse.Namespace) -> str:
    """Dense features of an image (OUT.safetensors or OUT.npy), for 3D, robotics and others.

    (D, h, w) unit vectors in float16 on the patch grid, which is stretched over the image. Their
    products with the rows of words are scores.
    """
    from ovseg.portable.arrays import export_features

    return export_features(_segmenter(args), args.image, args.out)


def _segmenter(args: argparse.Namespace) -> OpenVocabSegmenter:
    from ovseg.apis.segmenter import OpenVocabSegmenter

    return OpenVocabSegmenter(args.model, args.checkpoint, device='cpu', precision='float32')


def _size(args: argparse.Namespace) -> tuple[int, int] | None:
    if args.size is None:
        return None
    height, width = args.size
    if min(height, width) < 1:
        raise UserError('--size must be two numbers of pixels.')
    return height, width


def _check_suffix(args: argparse.Namespace, suffix: str) -> None:
    if args.out.suffix != suffix:
        raise UserError(f'{args.out} must end in {suffix}.')
