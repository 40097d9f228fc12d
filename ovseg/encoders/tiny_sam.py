"""The tiny SAM that ships with ovseg: segment-anything's class, a few megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segment_anything.modeling import Sam
from torch import Tensor

from ovseg.encoders.embedded import fill_and_freeze, read_embedded, write_embedded
from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.weight_files import WEIGHTS


def build_tiny_sam(name: str = 'tiny_sam_scenes', folder: str | Path = WEIGHTS) -> Sam:
    """Returns an embedded SAM, frozen; ``SamPredictor`` takes it as any other.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export_tiny_sam.py`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.

    Example:
        >>> from segment_anything import SamPredictor
        >>> predictor = SamPredictor(build_tiny_sam())
        >>> predictor.set_image(np.zeros((144, 108, 3), np.uint8))
        >>> masks, ious, logits = predictor.predict(np.array([[54, 72]]), np.array([1]))
        >>> masks.shape
        (3, 144, 108)
    """
    facts, state = read_embedded(name, folder, 'sam')
    sam = build_sam_architecture(facts['model'])
    fill_and_freeze(sam, state, name)
    for buffer, values in ((sam.pixel_mean, facts['mean']), (sam.pixel_std, facts['std'])):
        buffer.copy_(buffer.new_tensor(values).view(-1, 1, 1))
    return sam


def save_tiny_sam(
    path: str | Path,
    state: Mapping[str, Tensor],
    model: Mapping[str, Any],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    origin: Mapping[str, Any],
) -> int:
    """Writes ``PATH.safetensors`` and ``PATH.json`` for :func:`build_tiny_sam`.

    Args:
        path: where to, with or without the suffix.
        state: of the ``Sam``.
        model: arguments of :func:`~ovseg.encoders.sam_architecture.build_sam_architecture`.
        mean: pixel mean, RGB, in units of [0, 255].
        std: pixel standard deviation, likewise.
        origin: how the weights were made, for people.

    Returns:
        Size of the weights in bytes; they are stored in float16.

    Raises:
        UserError: a weight is not finite in float16.
    """
    facts = {
        'kind': 'sam',
        'model': dict(model),
        'mean': list(mean),
        'std': list(std),
        'origin': dict(origin),
    }
    return write_embedded(path, facts, state)
