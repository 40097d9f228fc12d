"""What the models of the zoo cost: how large they are, and how long an image takes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

# Seconds for a photograph of 600 x 512 pixels, 20 classes, on two cores of a CPU in float32.
SPEEDS = MappingProxyType(
    {
        'instant': 'below 0.3 s',
        'fast': 'below 3 s',
        'slow': 'below 30 s',
        'gpu': '30 s and more: wants a GPU',
    }
)


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        parameters: of all its networks, in millions; a text tower that words need is among them,
            a teacher that predicting does not need is not.
        speed: a key of ``SPEEDS``.
    """

    parameters: float
    speed: str

    @property
    def megabytes(self) -> float:
        """Of the weights in memory, in float32 (10^6 bytes); files in half precision are half."""
        return 4 * self.parameters


# Parameters were counted in the built models (a test counts those of the models that ship again).
# Seconds: docs/benchmarks.md, or by `ovseg benchmark` beside maskclip-vit-b16, which takes 1.9 s.
# The class of all tipsv2, radseg and dinotxt, trident-vit-b16-sam2, -l14 and -h14, all corrclip,
# ovseg-r101c, ovseg-sam, rn50, rn101, vit-b16-laion, resclip, all sam3 were reckoned from parts or
# from a like model, not measured.
# RADSeg's adaptor heads (about 8 million) are not counted: their sizes are in the file alone.
# A model without a row shows none.
COSTS = MappingProxyType(
    {
        'maskclip-tiny': Cost(5.6, 'instant'),
        'maskclip-vit-b16': Cost(149.6, 'fast'),
        'maskclip-vit-b32': Cost(151.3, 'fast'),
        'maskclip-vit-l14': Cost(427.6, 'slow'),
        'maskclip-rn50': Cost(102.0, 'fast'),
        'maskclip-rn101': Cost(119.7, 'fast'),
        'maskclip-rn50x4': Cost(178.3, 'fast'),
        'maskclip-rn50x16': Cost(291.0, 'fast'),
        'maskclip-vit-b16-laion': Cost(149.6, 'fast'),
        'tipsv2-b14': Cost(195.9, 'fast'),
        'tipsv2-l14': Cost(487.9, 'slow'),
        'tipsv2-so400m14': Cost(861.7, 'slow'),
        'tipsv2-g14': Cost(1525.1, 'gpu'),
        'siglip2-b16': Cost(375.8, 'fast'),
        'pe-core-l14': Cost(671.1, 'slow'),
        'metaclip2-h14': Cost(1858.8, 'slow'),
        'eva02-l14': Cost(427.8, 'slow'),
        'mobileclip2-b16': Cost(149.8, 'fast'),
        'mobileclip2-s2': Cost(99.2, 'fast'),
        'dfn-b16': Cost(149.6, 'fast'),
        'clipa-l14': Cost(414.2, 'slow'),
        'longclip-b16': Cost(149.7, 'fast'),
        'radseg-v3-b': Cost(806.0, 'slow'),
        'radseg-v3-h': Cost(1359.4, 'gpu'),
        'dinotxt-v2-l14': Cost(867.9, 'slow'),
        'dinotxt-v3-l16': Cost(866.7, 'slow'),
        'sam3-segearth': Cost(840.0, 'gpu'),
        'sam3-activesam': Cost(840.0, 'gpu'),
        'sam3-preselected': Cost(989.6, 'gpu'),
        'maskclip-tiny-siglip': Cost(5.8, 'instant'),
        'clip-dinoiser-tiny': Cost(5.7, 'instant'),
        'clip-dinoiser-vit-b16': Cost(151.4, 'fast'),
        'sclip-vit-b16': Cost(149.6, 'fast'),
        'clearclip-vit-b16': Cost(149.6, 'fast'),
        'naclip-vit-b16': Cost(149.6, 'fast'),
        'resclip-vit-b16': Cost(149.6, 'fast'),
        'proxyclip-tiny': Cost(6.4, 'instant'),
        'proxyclip-tiny-siglip': Cost(6.6, 'instant'),
        'proxyclip-vit-b16': Cost(235.4, 'slow'),
        'corrclip-vit-b16': Cost(876.5, 'gpu'),
        'corrclip-vit-b16-sam2': Cost(452.3, 'gpu'),
        'corrclip-v2-vit-l14': Cost(1388.6, 'gpu'),
        'trident-tiny': Cost(8.0, 'instant'),
        'trident-tiny-siglip': Cost(8.2, 'instant'),
        'trident-vit-b16': Cost(329.2, 'slow'),
        'trident-vit-b16-sam2': Cost(546.1, 'slow'),
        'trident-vit-l14': Cost(607.2, 'slow'),
        'trident-vit-h14': Cost(1165.6, 'gpu'),
        'denseclip-tiny': Cost(1.4, 'instant'),
        'ovseg-tiny': Cost(7.7, 'instant'),
        'fcclip-tiny': Cost(5.7, 'instant'),
        'sam3-tiny': Cost(6.6, 'instant'),
        'ovseg-swin-b-vit-l14': Cost(531.2, 'gpu'),
        'ovseg-r101c-vit-b16': Cost(211.2, 'slow'),
        'fcclip-convnext-l': Cost(372.5, 'slow'),
        'fcclip-rn50': Cost(123.0, 'slow'),
        'maftplus-convnext-b': Cost(201.8, 'slow'),
        'maftplus-convnext-l': Cost(375.4, 'slow'),
        'maftplus-convnext-l-panoptic': Cost(375.4, 'slow'),
        'ovseg-sam-vit-l14': Cost(1069.0, 'gpu'),
    }
)
