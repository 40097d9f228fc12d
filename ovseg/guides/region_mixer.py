"""CorrCLIP's mixing: three branches of CLIP, mixed within regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ovseg.affinity.proxy import mix_values
from ovseg.affinity.region_scope import merge_regions, resize_regions, scoped_affinity
from ovseg.affinity.region_tokens import region_membership, region_token_bias
from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.errors import UserError
from ovseg.guides.mixer import Look
from ovseg.precision import products_of
from ovseg.registry import MODELS

# Lower blocks of the spatial branch by the number of blocks, as released; else all but four.
_SPATIAL_BLOCKS = {12: 5, 24: 12, 32: 28}


@MODELS.register_module()
@dataclass(frozen=True)
class RegionMixer:
    """A mixer within regions, by the similarities of a companion's features.

    Three branches are added: values of the last block's input; values of the mean of lower blocks,
    which keeps more of the place; and what copies of the class token say of each region. The first
    two are mixed by :func:`~ovseg.affinity.region_scope.scoped_affinity`.

    Attributes:
        merge_distance: regions of a window with features no further apart become one (version 1,
            0.2); None leaves them (version 2).
        temperature: factor of the similarities.
        spatial_blocks: how many blocks the spatial branch averages, the last of them the third from
            the end; None as released (5 of 12, 12 of 24, 28 of 32, otherwise all but four).
        spatial_weight: of the spatial branch.
        semantic_weight: of the region tokens.

    Source: CorrCLIP (arXiv 2411.10086) section 3.
    """

    merge_distance: float | None = 0.2
    temperature: float = 4.0
    spatial_blocks: int | None = None
    spatial_weight: float = 1.0
    semantic_weight: float = 0.5
    normed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the temperature."""
        if not self.temperature > 0:
            raise UserError(f'encoder.temperature must be positive, got {self.temperature}')

    def blocks_of(self, clip: CLIPViTEncoder) -> int:
        """How many blocks of a CLIP the spatial branch averages.

        Raises:
            UserError: more than it has, or a model without a class token for the regions to copy.
        """
        if not clip.tower.prefix:
            raise UserError(
                'region tokens are copies of a class token, and this model has none (it pools its '
                'patches by attention); choose another model, or a mixer without regions'
            )
        blocks = len(clip.tower.blocks)
        wanted = self.spatial_blocks
        if wanted is None:
            wanted = _SPATIAL_BLOCKS.get(blocks, blocks - 4)
        if not 1 <= wanted <= blocks - 2:
            raise UserError(
                f'encoder.spatial_blocks must lie in 1..{blocks - 2} for a CLIP of {blocks} blocks '
                f'(the last two are left out), got {wanted}'
            )
        return wanted

    def __call__(self, clip: CLIPViTEncoder, image: Tensor, look: Look) -> Tensor:
        """See :class:`~ovseg.guides.mixer.Mixer`; without regions, nothing is claimed."""
        regions = look.regions
        if regions is None:
            regions = torch.zeros(len(image), *look.grid, dtype=torch.int64, device=image.device)
        regions = resize_regions(regions, look.grid)
        if self.merge_distance is not None:
            regions = merge_regions(look.features, regions, self.merge_distance)
        affinity = scoped_affinity(look.features, regions, self.temperature)
        last, lower, region_tokens = self._branches(clip, image, regions)
        main, spatial = (
            clip.final_norm(clip.mixed(mix_values(values, affinity, look.grid)))
            for values in (last, lower)
        )
        semantic = clip.final_norm(region_tokens)
        return main + self.spatial_weight * spatial + self.semantic_weight * semantic

    def _branches(
        self, clip: CLIPViTEncoder, image: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values of the last block's input and of lower blocks, on CLIP's grid; region tokens.

        Region tokens (B, C, h, w) are those after the last block, each on the patches of its
        region, on the grid of `regions`.
        """
        with products_of(clip):
            tokens, grid = clip.embed(image)
            membership, index = region_membership(resize_regions(regions, grid))
            count = membership.shape[1]
            bias = region_token_bias(membership, tokens.dtype, clip.tower.prefix)
            tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], dim=1)
            blocks = clip.tower.blocks
            averaged = self.blocks_of(clip)
            first = len(blocks) - 2 - averaged
            lower = torch.zeros_like(tokens[:, count:])
            for number, block in enumerate(blocks[:-1]):
                tokens = clip.run(block, tokens, grid, bias=bias).tokens
                if first <= number <= len(blocks) - 3:
                    lower += tokens[:, count:]
            final = clip.run(blocks[-1], tokens, grid, bias=bias).tokens[:, :count]
        index = resize_regions(index, (regions.shape[1], regions.shape[2])).flatten(1)
        painted = final.gather(1, index[..., None].expand(-1, -1, final.shape[-1]))
        return (
            clip.values_of(tokens[:, count:], grid),
            clip.values_of(lower / averaged, grid),
            painted.transpose(1, 2).unflatten(2, regions.shape[1:]),
        )
