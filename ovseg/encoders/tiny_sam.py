"""The tiny SAM that ships with ovseg: segment-anything's class, a few megabytes."""

from __future__ import annotations

from pathlib import Path

from segment_anything.modeling import Sam

from ovseg.encoders.embedded import fill_and_freeze, read_embedded
from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.weight_files import WEIGHTS


def build_tiny_sam(name: str = 'tiny_sam_scenes', folder: str | Path = WEIGHTS) -> Sam:
    """Returns an embedded SAM, frozen; ``SamPredictor`` takes it as any other.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export.py tiny-sam`` wrote to.

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
