"""A small ConvNeXt, registered with timm: open_clip builds towers by name."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.convnext import ConvNeXt

_OF_FACTORY = ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir')
_SIZES: dict[str, Any] = {
    'depths': (1, 1, 2, 1),
    'dims': (32, 64, 96, 128),
    # The last map keeps the stride of the one before it: things of 44 to 96 pixels would cover one
    # to three places of stride 32.
    'output_stride': 16,
    # Pictures of 64 pixels have maps of 16, 8, 4 and 4 places: what lies farther apart than that is
    # never learnt, and would be noise in larger images.
    'kernel_sizes': (5, 5, 5, 3),
    # Layers that begin at nearly nothing want a longer training than a small world gives.
    'ls_init_value': 0.1,
}


@register_model
def convnext_scenes(pretrained: bool = False, **settings: Any) -> ConvNeXt:
    """A ``ConvNeXt`` of timm's with a block each of widths 32, 64, 96 and 128.

    Args:
        pretrained: timm asks every tower so; this one has no weights of its own to fetch.
        settings: of the same class, in place of these.

    Raises:
        ValueError: pretrained.
    """
    if pretrained:
        raise ValueError('convnext_scenes has no weights of its own')
    own = {key: value for key, value in settings.items() if key not in _OF_FACTORY}
    tower = ConvNeXt(**{**_SIZES, **own})
    # Torch's modules are typed as if they held nothing but modules and tensors.
    of_timm: Any = tower
    of_timm.default_cfg = {'pool_size': (1, 1)}
    return tower
