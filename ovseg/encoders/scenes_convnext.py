"""A small ConvNeXt, registered with timm: open_clip builds towers by name."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.convnext import ConvNeXt

_OF_FACTORY = ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir')


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
    # Layers that begin at nearly nothing want a longer training than a small world gives.
    tower = ConvNeXt(
        **{'depths': (1, 1, 2, 1), 'dims': (32, 64, 96, 128), 'ls_init_value': 0.1, **own}
    )
    tower.default_cfg = {'pool_size': (1, 1)}
    return tower
