"""Decoders without a classifier: the part of a segmentation head that makes its last features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.registry import MODELS

_RELU = {'type': 'ReLU'}


@MODELS.register_module()
class DeepLabV2Module(BaseModule):
    """Atrous convolutions of several rates, summed: DeepLabv2 up to its classifier.

    Args:
        in_channels: of the backbone's map.
        channels: of the result.
        in_index: which of the backbone's maps.
        dilations: rates; 1 stands for a 1x1 convolution.
        norm_cfg: as in mmcv.
        conv_cfg: as in mmcv.
        act_cfg: as in mmcv.
        init_cfg: as in mmengine.

    Source: Chen et al., DeepLab (arXiv 1606.00915); as in MaskCLIP's release each branch has a
    norm and a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        in_index: int = -1,
        dilations: Sequence[int] = (6, 12, 18, 24),
        norm_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        act_cfg: dict | None = _RELU,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_index = in_index
        self.channels = channels
        self.aspp_modules = ASPPModule(
            tuple(dilations), in_channels, channels, conv_cfg, norm_cfg, act_cfg
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps -> (B, channels, h, w)."""
        return sum(self.aspp_modules(inputs[self.in_index]))


def build_decode_module(config: Mapping[str, Any], channels: int) -> nn.Module:
    """Returns a module ``backbone maps -> (B, channels, h, w)``.

    Args:
        config: of :class:`DeepLabV2Module`, of any other such module, or of any decode head of
            mmseg, whose classifier and dropout are taken out.
        channels: of the result; overrides the config's.

    Raises:
        UserError: the type is no decode head and no module of ours, or sets other channels.
    """
    if config.get('channels', channels) != channels:
        raise UserError(
            f'decode_head.decode_module.channels is {config["channels"]}, but the text space has '
            f'{channels} dimensions; leave it out'
        )
    settings = {'_scope_': 'ovseg', **config, 'channels': channels}
    kind = MODELS.get(config['type']) if isinstance(config['type'], str) else config['type']
    if kind is None or not issubclass(kind, BaseDecodeHead):
        return MODELS.build(settings)
    # The head's own loss is never used; with this setting it is built without a warning.
    unused_loss = {'type': 'CrossEntropyLoss', 'avg_non_ignore': True}
    head = MODELS.build({'loss_decode': unused_loss, **settings, 'num_classes': 3})
    if not isinstance(getattr(head, 'conv_seg', None), nn.Conv2d):
        raise UserError(
            f'{config["type"]} cannot be decode_head.decode_module: it has no 1x1 classifier to '
            'replace by text; choose another head'
        )
    if head.conv_seg.in_channels != channels:
        raise UserError(
            f'{config["type"]} gives its classifier {head.conv_seg.in_channels} channels whatever '
            f'its setting, but the text space has {channels}; choose another head'
        )
    head.conv_seg = nn.Identity()
    head.dropout = None
    head.init_cfg = None  # it names the classifier
    return head
