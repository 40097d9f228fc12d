"""CLIP's vision transformer for masked regions: learned tokens stand where nothing is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.last_block import PLAIN_BLOCK, run_block
from ovseg.affinity.opened_blocks import open_block
from ovseg.errors import UserError
from ovseg.precision import as_summed_by, products_of
from ovseg.weight_files import load_strictly

_VISUAL = 'visual.'
_PROMPTS = 'mask_embedding'


class MaskPromptedViT(VisionTransformer):
    """An open_clip ViT whose blank patches are replaced by learned mask prompts.

    A patch is blank if the region's mask keeps none of its pixels. Blank patches become prompts at
    the input, before the position embedding is added, and again in front of the next ``depth - 1``
    blocks, without it. Attention sees all tokens, and the tower pools as it always does.

    The parameters are those of ``visual``, shared and under the same names, and ``mask_embedding``
    (D, P, C): D prompts for each of P patches, zero until they are loaded or trained.

    Args:
        visual: open_clip's ``VisionTransformer``; it pools by class token or by average.
        depth: D, blocks that see prompts; published 3.

    Raises:
        UserError: another kind of tower, or a depth that it does not have.

    Source: OVSeg (arXiv 2210.04150) section 3.3.
    """

    casts_products = True

    def __init__(self, visual: VisionTransformer, depth: int = 3) -> None:
        if not isinstance(visual, VisionTransformer):
            raise UserError(
                f'mask prompts need patches, and a {type(visual).__name__} has none; choose a CLIP '
                "with one of open_clip's vision transformers"
            )
        if visual.attn_pool is not None or visual.pool_type == 'none':
            raise UserError(
                'mask prompts need a CLIP that pools its patches by class token or average; '
                'choose another model'
            )
        blocks = visual.transformer.resblocks
        if not 1 <= depth <= len(blocks):
            raise UserError(
                f'mask_prompt_depth must lie in 1..{len(blocks)} for a CLIP of {len(blocks)} '
                f'blocks, got {depth}'
            )
        for block in blocks:
            open_block(block)  # which refuses what it does not know
        # The parts are another tower's; open_clip's constructor would only make them once more.
        nn.Module.__init__(self)
        for name, child in visual.named_children():
            self.add_module(name, child)
        for name, parameter in visual.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        own = self.__dict__
        for name in vars(visual).keys() - own.keys():
            own[name] = vars(visual)[name]
        patches, width = len(visual.positional_embedding) - 1, visual.conv1.out_channels
        self.mask_embedding = nn.Parameter(
            visual.positional_embedding.new_zeros(depth, patches, width)
        )

    @property
    def depth(self) -> int:
        """D, blocks that see prompts."""
        return len(self.mask_embedding)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Embeddings of regions in the text space.

        Args:
            images: (N, 3, S, S), normalised, of the side S that the tower was trained with.
            masks: (N, 1, S, S), what is shown of each region: anything above zero is. None for
                plain CLIP.

        Returns:
            (N, E), not normalised.

        Raises:
            UserError: images of another size, or masks that do not fit them.
        """
        kept = None if masks is None else self.kept_patches(masks)
        with products_of(self):
            tokens = self.ln_pre(self.embed(images, kept))
            for _, leaving in self.run_blocks(tokens, kept):
                tokens = leaving
        pooled, _ = self._pool(tokens)
        return pooled if self.proj is None else pooled @ self.proj

    def kept_patches(self, masks: Tensor) -> Tensor:
        """Which patches show anything of their region, (N, P, 1) bool.

        Args:
            masks: (N, 1, S, S); a single pixel above zero keeps its patch.

        Raises:
            UserError: masks of another size.
        """
        size = tuple(self.image_size)
        if masks.ndim != 4 or tuple(masks.shape[1:]) != (1, *size):
            raise UserError(
                f'region masks must be (N, 1, {size[0]}, {size[1]}) for this CLIP, got '
                f'{tuple(masks.shape)}; set the size of the crops'
            )
        # Not the average that is rounded up in the released code: the same, without a division.
        largest = F.max_pool2d(masks.float(), tuple(self.patch_size))
        return (largest > 0).flatten(1)[..., None]

    def embed(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Tokens (N, 1 + P, C) before the first norm, class token first.

        Args:
            images: (N, 3, S, S), normalised.
            kept: (N, P, 1) bool, of :meth:`kept_patches`, or None.

        Raises:
            UserError: see :meth:`forward`.
        """
        if tuple(images.shape[2:]) != tuple(self.image_size):
            raise UserError(
                f'regions must be {tuple(self.image_size)} pixels for this CLIP, '
                f'got {tuple(images.shape[2:])}; set the size of the crops'
            )
        if kept is not None and len(kept) != len(images):
            raise UserError(f'{len(kept)} region masks for {len(images)} regions; give one each')
        patches = as_summed_by(self, self.conv1(images).flatten(2).transpose(1, 2))
        if kept is not None:
            patches = self._with_prompts(patches, kept, 0)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([first, patches], dim=1)
        return tokens + self.positional_embedding.to(patches.dtype)

    def run_blocks(
        self, tokens: Tensor, kept: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Runs the blocks and yields what enters each and what it gives, (N, 1 + P, C) both.

        Args:
            tokens: (N, 1 + P, C), after the first norm.
            kept: (N, P, 1) bool, or None for no prompts.
        """
        for index, block in enumerate(self.transformer.resblocks):
            if kept is not None and 0 < index < self.depth:
                patches = self._with_prompts(tokens[:, 1:], kept, index)
                tokens = torch.cat([tokens[:, :1], patches], dim=1)
            entering = tokens
            tokens = run_block(block, entering, PLAIN_BLOCK).tokens
            yield entering, tokens

    def _with_prompts(self, patches: Tensor, kept: Tensor, index: int) -> Tensor:
        return torch.where(kept, patches, self.mask_embedding[index].to(patches.dtype))


def load_mask_prompted(
    tower: MaskPromptedViT,
    state: Mapping[str, Tensor],
    origin: object,
    allow_missing_prompts: bool = False,
) -> None:
    """Loads CLIP's vision tower with its mask prompts, strictly.

    Args:
        tower: receives the weights.
        state: tensors by OpenAI's names. If some begin with ``visual.``, the others are not read.
            Prompts for one patch, (D, 1, C), are repeated for all.
        origin: where they come from, for messages.
        allow_missing_prompts: weights without prompts, of a CLIP that was not tuned, leave them at
            zero, as the released code does. That is not the same as running without masks.

    Raises:
        UserError: no prompts, prompts of another depth, or a key that is missing, unexpected or of
            another shape.
    """
    if any(name.startswith(_VISUAL) for name in state):
        state = {
            name.removeprefix(_VISUAL): value
            for name, value in state.items()
            if name.startswith(_VISUAL)
        }
    state = dict(state)
    own = tower.mask_embedding
    prompts = state.get(_PROMPTS)
    if prompts is None:
        if not allow_missing_prompts:
            raise UserError(
                f"weights from {origin} have no mask prompts ('{_PROMPTS}'); give a mask-adapted "
                'CLIP, or run it without mask prompts'
            )
        prompts = torch.zeros_like(own)
    if len(prompts) != tower.depth:
        raise UserError(
            f'weights from {origin} have mask prompts for {len(prompts)} blocks, the model for '
            f'{tower.depth}; set mask_prompt_depth={len(prompts)}'
        )
    if prompts.ndim == 3 and prompts.shape[1] == 1:
        prompts = prompts.expand(-1, own.shape[1], -1)
    load_strictly(tower, {**state, _PROMPTS: prompts}, origin)
