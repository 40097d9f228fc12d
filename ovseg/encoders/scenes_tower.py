"""The vision tower of the tiny SigLIP, registered with timm: open_clip builds towers by name."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer


@register_model
def vit_scenes_patch8_32(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """A ``VisionTransformer`` of timm's for pictures of 32 x 32 pixels: 3 blocks of width 128.

    No class token, one learned query that attends to all patches, a norm before the blocks.

    Args:
        pretrained: timm asks every tower so; this one has no weights of its own to fetch.
        settings: of the same class, in place of these. What timm's factory tells all towers about
            pretrained weights is left out.

    Raises:
        ValueError: pretrained.
    """
    if pretrained:
        raise ValueError('vit_scenes_patch8_32 has no weights of its own')
    of_factory = ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir')
    sizes = dict(img_size=32, patch_size=8, embed_dim=128, depth=3, num_heads=4)
    form = dict(class_token=False, global_pool='map', pre_norm=True)
    own = {key: value for key, value in settings.items() if key not in of_factory}
    return VisionTransformer(**{**sizes, **form, **own})
