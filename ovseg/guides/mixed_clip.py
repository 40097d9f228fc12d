"""Dense CLIP features whose last attention is a mixer's, told by a companion what is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.companions import Companion
from ovseg.encoders.dense import DenseFeatures, Margins
from ovseg.errors import UserError
from ovseg.guides.mixer import Look, Mixer
from ovseg.guides.proxy_mixer import ProxyAttention
from ovseg.guides.region_mixer import RegionMixer
from ovseg.registry import MODELS, build_part

Companionship = Literal['windows', 'image']


@MODELS.register_module()
class MixedCLIPEncoder(nn.Module):
    """A CLIP ViT and a companion that looks at the same pixels, each with its own statistics.

    Args:
        visual: see :class:`CLIPViTEncoder`.
        companion: config of a :class:`~ovseg.encoders.companions.Companion`, or such a module.
        mixer: config of a :class:`~ovseg.guides.mixer.Mixer`, or such an object.
        mean: pixel mean that the images were normalised with, RGB in [0, 1].
        std: pixel standard deviation, likewise.
        companion_sees: each of the ``'windows'`` by itself, or the whole ``'image'`` at its own
            size once, from which windows are read on twice CLIP's grid (CorrCLIP, version 2).
        clip_settings: further arguments of :class:`CLIPViTEncoder`, such as ``padding``.

    Raises:
        UserError: see :class:`CLIPViTEncoder`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        visual: nn.Module,
        companion: Mapping[str, Any] | Companion,
        mixer: Mapping[str, Any] | Mixer,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        companion_sees: Companionship = 'windows',
        **clip_settings: Any,
    ) -> None:
        super().__init__()
        if companion_sees not in get_args(Companionship):
            raise UserError(
                f"encoder.companion_sees must be 'windows' or 'image', got '{companion_sees}'"
            )
        self.clip = CLIPViTEncoder(visual, 'value', mean=mean, std=std, **clip_settings)
        self.companion: Companion = (
            build_part(companion) if isinstance(companion, Mapping) else companion
        )
        self.mixer: Mixer = build_part(mixer) if isinstance(mixer, Mapping) else mixer
        self.companion_sees = companion_sees
        self.embed_dim = self.clip.embed_dim
        self.padding, self.position_resize = self.clip.padding, self.clip.position_resize
        self.has_patch_grid = self.companion.stride is not None
        self.stride = self.companion.stride or self.clip.stride
        for name, value in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @property
    def last_block(self) -> str:
        """What takes the place of the last block, for the protocol."""
        return f'values mixed by {self.companion} of {self.companion_sees}, {self.mixer}'

    def pad(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised, as both encoders see them."""
        return self.clip.pad(image)

    def margins(self, size: tuple[int, int]) -> Margins:
        """How far the feature map reaches beyond an image of that (height, width)."""
        return self.clip.margins(size)

    def look(self, image: Tensor) -> Look:
        """The companion's word on images.

        Args:
            image: (B, 3, H, W), normalised, from :meth:`pad`.
        """
        return Look(self.companion(image * self.std + self.mean).float())

    def forward(
        self,
        image: Tensor,
        outputs: frozenset[str] = frozenset(),
        layers: Sequence[int] = (),
        look: Look | None = None,
    ) -> DenseFeatures:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised.
            outputs: none: there are no queries and keys, and CLIP's own maps have another grid.
            layers: none, likewise.
            look: at the images as :meth:`pad` fills them up, instead of the companion's at these.

        Returns:
            Features on the grid of what tells the similarity.

        Raises:
            UserError: an output that there is not.
        """
        if outputs or layers:
            asked = ', '.join([*sorted(outputs), *(f'layer {layer}' for layer in layers)])
            raise UserError(
                f'{type(self).__name__} has no {asked} (a guide or refiner of the config reads '
                'it); leave that part out or use another encoder'
            )
        image = self.pad(image)
        tokens = self.mixer(self.clip, image, self.look(image) if look is None else look)
        normed = tokens if self.mixer.normed else self.clip.final_norm(tokens)
        return DenseFeatures(patch=self.clip.project(normed))


@MODELS.register_module()
class ProxyCLIPEncoder(MixedCLIPEncoder):
    """Dense CLIP features on the companion's grid, mixed by the companion's similarities.

    In windows, each window has its own mean similarity, as in the released code.

    Args:
        visual: see :class:`MixedCLIPEncoder`.
        companion: likewise.
        beta: of :class:`~ovseg.guides.proxy_mixer.ProxyAttention`.
        gamma: likewise.
        residual: likewise.
        ffn: likewise.
        settings: other arguments of :class:`MixedCLIPEncoder`.

    Raises:
        UserError: a steepness that is not positive; see also :class:`MixedCLIPEncoder`.

    Source: ProxyCLIP (arXiv 2408.04883).
    """

    def __init__(
        self,
        visual: nn.Module,
        companion: Mapping[str, Any] | Companion,
        beta: float = 1.2,
        gamma: float = 3.0,
        residual: bool = False,
        ffn: bool = False,
        **settings: Any,
    ) -> None:
        mixer = ProxyAttention(beta, gamma, residual, ffn)
        super().__init__(visual, companion, mixer, **settings)


@MODELS.register_module()
class CorrCLIPEncoder(MixedCLIPEncoder):
    """Dense CLIP features on the companion's grid, mixed within regions.

    Args:
        visual: see :class:`MixedCLIPEncoder`.
        companion: likewise.
        merge_distance: of :class:`~ovseg.guides.region_mixer.RegionMixer`.
        temperature: likewise.
        spatial_blocks: likewise.
        spatial_weight: likewise.
        semantic_weight: likewise.
        settings: other arguments of :class:`MixedCLIPEncoder`.

    Raises:
        UserError: settings out of range; see also :class:`MixedCLIPEncoder`.

    Source: CorrCLIP (arXiv 2411.10086) section 3.
    """

    def __init__(
        self,
        visual: nn.Module,
        companion: Mapping[str, Any] | Companion,
        merge_distance: float | None = 0.2,
        temperature: float = 4.0,
        spatial_blocks: int | None = None,
        spatial_weight: float = 1.0,
        semantic_weight: float = 0.5,
        **settings: Any,
    ) -> None:
        mixer = RegionMixer(
            merge_distance, temperature, spatial_blocks, spatial_weight, semantic_weight
        )
        super().__init__(visual, companion, mixer, **settings)
        mixer.blocks_of(self.clip)  # too many are told now
