"""CorrCLIP's dense features: three branches of CLIP, mixed within regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from ovseg.affinity.last_block import PLAIN_BLOCK, run_block
from ovseg.affinity.region_scope import merge_regions, resize_regions, scoped_affinity
from ovseg.affinity.region_tokens import region_membership, region_token_bias
from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.guides.proxy import mix_values
from ovseg.guides.proxy_clip import CompanionedCLIP, refuse_outputs
from ovseg.registry import MODELS

Companionship = Literal['windows', 'image']
# Lower blocks of the spatial branch by the number of blocks, as released; else all but four.
_SPATIAL_BLOCKS = {12: 5, 24: 12, 32: 28}


@MODELS.register_module()
class CorrCLIPEncoder(CompanionedCLIP):
    """Dense CLIP features on the companion's grid, mixed within regions.

    Three branches are added: values of the last block's input; values of the mean of lower blocks,
    which keeps more of the place; and what copies of the class token say of each region. The first
    two are mixed by :func:`~ovseg.affinity.region_scope.scoped_affinity`.

    Args:
        visual: open_clip's ``VisionTransformer``. It is read, never written or hooked.
        companion: config of a :class:`~ovseg.encoders.companions.Companion`.
        companion_sees: each of the ``'windows'`` by itself (version 1), or the whole ``'image'`` at
            its own size once, from which windows are read on twice CLIP's grid (version 2).
        merge_distance: regions of a window with features no further apart become one (version 1,
            0.2); None leaves them (version 2).
        temperature: factor of the similarities.
        spatial_blocks: how many blocks the spatial branch averages, the last of them the third from
            the end; None as released (5 of 12, 12 of 24, 28 of 32, otherwise all but four).
        spatial_weight: of the spatial branch.
        semantic_weight: of the region tokens.
        mean: pixel mean that the images were normalised with, RGB in [0, 1].
        std: pixel standard deviation, likewise.
        clip_settings: further arguments of :class:`CLIPViTEncoder`, such as ``padding``.

    Raises:
        UserError: settings out of range; see also :class:`CLIPViTEncoder`.

    Source: CorrCLIP (arXiv 2411.10086) section 3.
    """

    def __init__(
        self,
        visual: VisionTransformer,
        companion: Mapping[str, Any],
        companion_sees: Companionship = 'windows',
        merge_distance: float | None = 0.2,
        temperature: float = 4.0,
        spatial_blocks: int | None = None,
        spatial_weight: float = 1.0,
        semantic_weight: float = 0.5,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        **clip_settings: Any,
    ) -> None:
        super().__init__(visual, companion, mean, std, **clip_settings)
        if companion_sees not in get_args(Companionship):
            raise UserError(
                f"encoder.companion_sees must be 'windows' or 'image', got '{companion_sees}'"
            )
        if not temperature > 0:
            raise UserError(f'encoder.temperature must be positive, got {temperature}')
        blocks = len(visual.transformer.resblocks)
        if spatial_blocks is None:
            spatial_blocks = _SPATIAL_BLOCKS.get(blocks, blocks - 4)
        if not 1 <= spatial_blocks <= blocks - 2:
            raise UserError(
                f'encoder.spatial_blocks must lie in 1..{blocks - 2} for a CLIP of {blocks} blocks '
                f'(the last two are left out), got {spatial_blocks}'
            )
        self.companion_sees = companion_sees
        self.merge_distance = merge_distance
        self.temperature = temperature
        self.spatial_blocks = spatial_blocks
        self.spatial_weight, self.semantic_weight = spatial_weight, semantic_weight

    @property
    def last_block(self) -> str:
        """What takes the place of the last block, for the protocol."""
        return (
            f'three branches mixed within regions by {self.companion} of {self.companion_sees}, '
            f'merge_distance={self.merge_distance}, temperature={self.temperature}'
        )

    def forward(
        self,
        image: Tensor,
        outputs: frozenset[str] = frozenset(),
        layers: Sequence[int] = (),
        regions: Tensor | None = None,
        similarity_features: Tensor | None = None,
    ) -> DenseFeatures:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised.
            outputs: none: there are no queries and keys, and CLIP's own maps have another grid.
            layers: none, likewise.
            regions: (B, H', W') int64, what belongs together in the images as :meth:`pad` fills
                them up; the smallest id of an image is what nothing claimed. None: nothing is.
            similarity_features: (B, C, h, w) that take the companion's place.

        Returns:
            Features on the grid of what tells the similarity.

        Raises:
            UserError: an output that there is not.
        """
        refuse_outputs(self, outputs, layers)
        image = self.pad(image)
        if similarity_features is None:
            similarity_features = self.companion_features(image)
        grid = (similarity_features.shape[2], similarity_features.shape[3])
        if regions is None:
            regions = torch.zeros(len(image), *grid, dtype=torch.int64, device=image.device)
        regions = resize_regions(regions, grid)
        if self.merge_distance is not None:
            regions = merge_regions(similarity_features, regions, self.merge_distance)
        affinity = scoped_affinity(similarity_features, regions, self.temperature)
        last, lower, region_tokens = self._branches(image, regions)
        main, spatial = (
            self.clip.final_norm(self.clip.mixed(mix_values(values, affinity, grid)))
            for values in (last, lower)
        )
        semantic = self.clip.final_norm(region_tokens)
        tokens = main + self.spatial_weight * spatial + self.semantic_weight * semantic
        return DenseFeatures(patch=self.clip.project(tokens))

    def _branches(self, image: Tensor, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values of the last block's input and of lower blocks, on CLIP's grid; region tokens.

        Region tokens (B, C, h, w) are those after the last block, each on the patches of its
        region, on the grid of `regions`.
        """
        tokens, grid = self.clip.embed(image)
        membership, index = region_membership(resize_regions(regions, grid))
        count = membership.shape[1]
        bias = region_token_bias(membership, tokens.dtype)
        tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], dim=1)
        blocks = self.clip.visual.transformer.resblocks
        first = len(blocks) - 2 - self.spatial_blocks
        lower = torch.zeros_like(tokens[:, count:])
        for number, block in enumerate(blocks[:-1]):
            tokens = run_block(block, tokens, PLAIN_BLOCK, bias=bias).tokens
            if first <= number <= len(blocks) - 3:
                lower += tokens[:, count:]
        final = run_block(blocks[-1], tokens, PLAIN_BLOCK, bias=bias).tokens[:, :count]
        index = resize_regions(index, (regions.shape[1], regions.shape[2])).flatten(1)
        painted = final.gather(1, index[..., None].expand(-1, -1, final.shape[-1]))
        return (
            self.clip.values_of(tokens[:, count:], grid),
            self.clip.values_of(lower / self.spatial_blocks, grid),
            painted.transpose(1, 2).unflatten(2, regions.shape[1:]),
        )
