"""ProxyCLIP's dense features: CLIP's values, mixed by what a companion finds alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.companions import Companion
from ovseg.encoders.dense import DenseFeatures, Margins
from ovseg.errors import UserError
from ovseg.guides.proxy import ProxyAttention, mean_similarity
from ovseg.registry import MODELS, build_part


class CompanionedCLIP(nn.Module):
    """A CLIP ViT and a companion that looks at the same pixels, each with its own statistics.

    Args:
        visual: open_clip's ``VisionTransformer``.
        companion: config of a :class:`~ovseg.encoders.companions.Companion`, or such a module.
        mean: pixel mean that the images were normalised with, RGB in [0, 1].
        std: pixel standard deviation, likewise.
        clip_settings: further arguments of :class:`CLIPViTEncoder`, such as ``padding``.

    Raises:
        UserError: a tower that is no ViT; see also :class:`CLIPViTEncoder`.
    """

    def __init__(
        self,
        visual: VisionTransformer,
        companion: Mapping[str, Any] | nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        **clip_settings: Any,
    ) -> None:
        super().__init__()
        if not isinstance(visual, VisionTransformer):
            raise UserError(
                f'{type(self).__name__} mixes the values of a ViT, but this CLIP has a '
                f'{type(visual).__name__}; choose a ViT in model.clip'
            )
        self.clip = CLIPViTEncoder(visual, 'value', mean=mean, std=std, **clip_settings)
        self.companion: Companion = (
            companion if isinstance(companion, nn.Module) else build_part(companion)
        )
        self.embed_dim = self.clip.embed_dim
        self.padding, self.position_resize = self.clip.padding, self.clip.position_resize
        self.has_patch_grid = self.companion.stride is not None
        self.stride = self.companion.stride or self.clip.stride
        for name, value in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    def pad(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised, as both encoders see them."""
        return self.clip.pad(image)

    def margins(self, size: tuple[int, int]) -> Margins:
        """How far the feature map reaches beyond an image of that (height, width)."""
        return self.clip.margins(size)

    def companion_features(self, image: Tensor) -> Tensor:
        """The companion's word on images.

        Args:
            image: (B, 3, H, W), normalised, from :meth:`pad`.

        Returns:
            (B, C, h, w), not normalised.
        """
        return self.companion(image * self.std + self.mean)


@MODELS.register_module()
class ProxyCLIPEncoder(CompanionedCLIP):
    """Dense CLIP features on the companion's grid, mixed by the companion's similarities.

    In windows, each window has its own mean similarity, as in the released code.

    Args:
        visual: open_clip's ``VisionTransformer``. It is read, never written or hooked.
        companion: config of a :class:`~ovseg.encoders.companions.Companion`.
        beta: of :class:`~ovseg.guides.proxy.ProxyAttention`.
        gamma: likewise.
        residual: likewise.
        ffn: likewise.
        mean: pixel mean that the images were normalised with, RGB in [0, 1].
        std: pixel standard deviation, likewise.
        clip_settings: further arguments of :class:`CLIPViTEncoder`, such as ``padding``.

    Raises:
        UserError: a steepness that is not positive; see also :class:`CLIPViTEncoder`.

    Source: ProxyCLIP (arXiv 2408.04883).
    """

    def __init__(
        self,
        visual: VisionTransformer,
        companion: Mapping[str, Any],
        beta: float = 1.2,
        gamma: float = 3.0,
        residual: bool = False,
        ffn: bool = False,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        **clip_settings: Any,
    ) -> None:
        super().__init__(visual, companion, mean, std, **clip_settings)
        self.attention = ProxyAttention(beta, gamma, residual, ffn)

    @property
    def last_block(self) -> str:
        """What takes the place of the last block, for the protocol."""
        return f'values mixed by {self.companion}, {self.attention}'

    def forward(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised.
            outputs: none: there are no queries and keys, and CLIP's own maps have another grid.
            layers: none, likewise.

        Returns:
            Features on the companion's grid.

        Raises:
            UserError: an output that there is not.
        """
        refuse_outputs(self, outputs, layers)
        image = self.pad(image)
        features = self.companion_features(image)
        mixed = self.attention(self.clip, image, features, mean_similarity(features))
        return DenseFeatures(patch=self.clip.to_text_space(mixed))


def refuse_outputs(encoder: nn.Module, outputs: frozenset[str], layers: Sequence[int]) -> None:
    """Stops where a guide or refiner asks for what an encoder on a companion's grid has not.

    Args:
        encoder: for the message.
        outputs: what is asked for.
        layers: likewise.

    Raises:
        UserError: anything is asked for.
    """
    if outputs or layers:
        asked = ', '.join([*sorted(outputs), *(f'layer {layer}' for layer in layers)])
        raise UserError(
            f'{type(encoder).__name__} has no {asked} (a guide or refiner of the config reads it); '
            'leave that part out or use another encoder'
        )
