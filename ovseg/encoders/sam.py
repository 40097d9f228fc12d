"""SAM from a name or a file: segment-anything's own, unmodified classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from ovseg.downloads import fetch_url
from ovseg.encoders.published import check_published
from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly, read_state_dict

EMBEDDED_SAMS = ('tiny_sam_scenes',)
_HOST = 'https://dl.fbaipublicfiles.com/segment_anything'
# name -> published file
PUBLISHED: dict[str, str] = {
    'vit_b': 'sam_vit_b_01ec64.pth',
    'vit_l': 'sam_vit_l_0b3195.pth',
    'vit_h': 'sam_vit_h_4b8939.pth',
}
_WIDTHS = {768: 'vit_b', 1024: 'vit_l', 1280: 'vit_h'}
_WIDTH_KEY = 'image_encoder.pos_embed'


@dataclass(frozen=True)
class LoadedSAM:
    """A frozen SAM with what belongs to its weights.

    Attributes:
        model: segment-anything's ``Sam``, in eval mode, without gradients.
        name: of the architecture.
        weights: file name, ``'embedded'`` or ``'random'``.
    """

    model: Sam
    name: str
    weights: str


def load_sam(model: str | Mapping[str, Any], pretrained: str | Path | None = None) -> LoadedSAM:
    """Returns a SAM with its weights.

    Args:
        model: ``'vit_b'``, ``'vit_l'``, ``'vit_h'``, an embedded model (``'tiny_sam_scenes'``), or
            the fields of :func:`~ovseg.encoders.sam_architecture.build_sam_architecture`.
        pretrained: None for the published weights of the name, a file in SAM's format, or
            ``'random'``, which must be asked for by that name.

    Raises:
        UserError: unknown name, weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.
    """
    if isinstance(model, str) and model in EMBEDDED_SAMS:
        if pretrained not in (None, 'embedded'):
            raise UserError(
                f"sam.pretrained of the embedded model '{model}' must be left out, "
                f"got '{pretrained}'"
            )
        from ovseg.encoders.tiny_sam import build_tiny_sam

        return LoadedSAM(_frozen(build_tiny_sam(model)), model, 'embedded')
    sam = _build(model)
    name = model if isinstance(model, str) else 'custom'
    if pretrained == 'random':
        return LoadedSAM(_frozen(sam), name, 'random')
    if pretrained is None:
        if not isinstance(model, str):
            raise UserError(
                "sam.pretrained must name a file, or 'random', for a sam.model of yours"
            )
        file = PUBLISHED[model]
        # The names end in the first digits of the files' MD5 sums.
        digest = Path(file).stem.rpartition('_')[2]
        pretrained = fetch_url(f'{_HOST}/{file}', 'sam.pretrained', f'md5:{digest}')
    state = read_state_dict(pretrained)
    _check_size(state, name, pretrained)
    load_strictly(sam, state, pretrained)
    return LoadedSAM(_frozen(sam), name, Path(pretrained).name)


def _build(model: str | Mapping[str, Any]) -> Sam:
    if not isinstance(model, str):
        return build_sam_architecture(model)
    check_published(model, PUBLISHED, 'sam.model', EMBEDDED_SAMS)
    return sam_model_registry[model]()


def _check_size(state: Mapping[str, Any], name: str, path: str | Path) -> None:
    """Says that a file is of another size, which a list of misshapen keys would hide."""
    held = _WIDTHS.get(state[_WIDTH_KEY].shape[-1]) if _WIDTH_KEY in state else None
    if held is not None and name in PUBLISHED and held != name:
        raise UserError(
            f"{path} holds SAM '{held}', the config asks for '{name}'; set sam.model='{held}' or "
            f'give {PUBLISHED[name]}'
        )


def _frozen(sam: Sam) -> Sam:
    return sam.eval().requires_grad_(False)
