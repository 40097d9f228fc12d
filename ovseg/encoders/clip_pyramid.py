"""A convolutional CLIP as the backbone of a mask decoder: its maps, and its own look at vectors."""

from __future__ import annotations

from typing import Protocol

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from ovseg.encoders.attention_pool import attend_in_masks
from ovseg.encoders.mask_pooling import masks_on, pool_in_masks
from ovseg.errors import UserError

STRIDES = (4, 8, 16, 32)


class CLIPPyramid(Protocol):
    """Maps of strides 4 to 32 from a CLIP's vision tower; the last one can be embedded."""

    channels: list[int]
    embed_dim: int

    def levels(self, image: Tensor) -> list[Tensor]:
        """Four maps (B, C, h, w), fine to coarse, of images (B, 3, H, W), normalised."""
        ...

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """Embeddings (B, Q, E), not normalised, of masks on the last map.

        Args:
            dense: (B, C, h, w), the last of :meth:`levels`.
            mask_logits: (B, Q, H, W).
        """
        ...


class ConvNeXtPyramid:
    """A CLIP ConvNeXt: the last map is averaged under a mask, and CLIP's head embeds the average.

    Args:
        visual: open_clip's ``TimmModel`` around a ``ConvNeXt``; read, never written or hooked.

    Raises:
        UserError: the tower does not pool by an average.

    Source: FC-CLIP (arXiv 2308.02487); ``modeling/backbone/clip.py`` of bytedance/fc-clip.
    """

    def __init__(self, visual: TimmModel) -> None:
        if visual.trunk.head.global_pool.pool_type != 'avg':
            raise UserError(
                'model.clip has a ConvNeXt that does not pool by average, so no vector of a mask '
                'can go through its head; choose one that does, such as convnext_large_d_320'
            )
        self.visual = visual
        self.channels = [info['num_chs'] for info in visual.trunk.feature_info]
        linear = [part for part in visual.modules() if isinstance(part, nn.Linear)]
        self.embed_dim = linear[-1].out_features

    def levels(self, image: Tensor) -> list[Tensor]:
        """See :class:`CLIPPyramid`."""
        trunk = self.visual.trunk
        found = [trunk.stem(image)]
        for stage in trunk.stages:
            found.append(stage(found[-1]))
        return [*found[1:-1], trunk.norm_pre(found[-1])]

    def embed_vectors(self, vectors: Tensor) -> Tensor:
        """CLIP's head on vectors: (..., C) in the last map's space to (..., E).

        Args:
            vectors: means of places of the last map.
        """
        flat = vectors.flatten(0, -2)[:, :, None, None]
        return self.visual.head(self.visual.trunk.head(flat)).unflatten(0, vectors.shape[:-1])

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`CLIPPyramid`. An empty mask has the embedding of a zero vector."""
        return self.embed_vectors(pool_in_masks(dense, mask_logits))


class ResNetPyramid:
    """A CLIP ModifiedResNet: its attention pool looks at the places of a mask only.

    Args:
        visual: open_clip's ``ModifiedResNet``; read, never written or hooked.

    Source: as :class:`ConvNeXtPyramid`.
    """

    def __init__(self, visual: ModifiedResNet) -> None:
        self.visual = visual
        stages = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        self.channels = [stage[-1].bn3.num_features for stage in stages]
        self.embed_dim = visual.output_dim

    def levels(self, image: Tensor) -> list[Tensor]:
        """See :class:`CLIPPyramid`."""
        visual, found = self.visual, [self.visual.stem(image)]
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            found.append(stage(found[-1]))
        return found[1:]

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`CLIPPyramid`. An empty mask has the bias of the output projection."""
        size = (dense.shape[2], dense.shape[3])
        inside = masks_on(mask_logits.detach(), size).flatten(2) > 0
        return attend_in_masks(self.visual.attnpool, dense, inside)


def clip_pyramid(visual: nn.Module) -> ConvNeXtPyramid | ResNetPyramid:
    """The pyramid of a vision tower.

    Args:
        visual: of an open_clip model.

    Raises:
        UserError: a tower that is no ConvNeXt and no ModifiedResNet.
    """
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, ConvNeXt):
        return ConvNeXtPyramid(visual)
    if isinstance(visual, ModifiedResNet):
        return ResNetPyramid(visual)
    raise UserError(
        f'model.clip has a {type(visual).__name__}, but masks are proposed from the maps of a '
        "convolutional CLIP; choose 'convnext_large_d_320' or a ResNet such as 'RN50-quickgelu'"
    )
