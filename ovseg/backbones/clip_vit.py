"""Dense features of a CLIP vision transformer, over open_clip's unmodified modules."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.attention.last_block import (
    PLAIN_BLOCK,
    LastBlockSpec,
    check_block,
    drop_class_token,
    last_block_spec,
    run_block,
)
from ovseg.backbones.dense import DenseFeatures
from ovseg.backbones.position import RESIZE_RULES, ResizeRule, resize_position_embedding
from ovseg.errors import UserError

# Grids seen lately whose position embeddings are kept; folders of photographs have few shapes.
_CACHED_GRIDS = 16
_ATTENTION_ONLY = LastBlockSpec('qk', ffn=False)


class CLIPViTEncoder(nn.Module):
    """Patch features in the text space from a CLIP ViT with a replaced last block.

    Args:
        visual: open_clip's ``VisionTransformer``. It is read, never written or hooked.
        last_block: preset name or fields of :class:`~ovseg.attention.LastBlockSpec`.
        position_resize: see :func:`~ovseg.backbones.position.resize_position_embedding`.
        padding: what fills the right and bottom border up to a multiple of the patch: ``'mean'``
            (zeros after normalisation, as MaskCLIP) or ``'black'`` (zero pixels before
            normalisation, as CLIP-DINOiser's MaskCLIP).
        mean: pixel mean of the normalisation, RGB in [0, 1]; read for ``'black'`` only.
        std: pixel standard deviation, likewise.
        mlp_input_layer: block whose MLP input is given as ``mlp_input``, counted from the end like
            a Python index; CLIP-DINOiser reads -3.

    Raises:
        UserError: the tower pools by attention or its blocks are not the standard ones.
    """

    has_patch_grid = True

    def __init__(
        self,
        visual: VisionTransformer,
        last_block: str | dict | LastBlockSpec = 'maskclip',
        position_resize: ResizeRule = 'always',
        padding: Literal['mean', 'black'] = 'mean',
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        mlp_input_layer: int = -3,
    ) -> None:
        super().__init__()
        if visual.attn_pool is not None:
            raise UserError(
                'this CLIP model pools its patches by attention, so they have no place in the text '
                'space; choose a model that pools by class token or average'
            )
        if position_resize not in RESIZE_RULES:
            raise UserError(
                f'encoder.position_resize must be one of {list(RESIZE_RULES)}, '
                f"got '{position_resize}'"
            )
        if padding not in ('mean', 'black'):
            raise UserError(f"encoder.padding must be 'mean' or 'black', got '{padding}'")
        for block in visual.transformer.resblocks:
            check_block(block)
        self.visual = visual
        self.mlp_input_layer = mlp_input_layer
        self.last_block = last_block_spec(last_block)
        self.position_resize = position_resize
        self.embed_dim = visual.output_dim
        self.stride = tuple(visual.patch_size)
        fill = [-m / s if padding == 'black' else 0.0 for m, s in zip(mean, std, strict=True)]
        self.register_buffer('pad_value', torch.tensor(fill).view(1, 3, 1, 1), persistent=False)
        self._positions: OrderedDict[tuple, Tensor] = OrderedDict()

    def forward(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images; only the fields named in `outputs` cost extra.

        Args:
            image: (B, 3, H, W), normalised with the statistics that the method wants.
            outputs: optional fields of :class:`DenseFeatures`.
            layers: blocks before the last, counted from 1, whose patch tokens are wanted as maps.

        Returns:
            Features on a grid of ceil(H / patch) x ceil(W / patch).
        """
        visual = self.visual
        tokens, grid = self._embed(image)
        mlp_input, mlp_block = None, self._mlp_block if 'mlp_input' in outputs else None
        intermediates = {}
        for layer, block in enumerate(visual.transformer.resblocks[:-1], start=1):
            # Not block(tokens): without gradients MultiheadAttention takes a path that holds
            # whole attention matrices, gigabytes for ViT-B/16 at 1024 x 2048.
            done = run_block(block, tokens, PLAIN_BLOCK)
            tokens = done.tokens
            if block is mlp_block:
                mlp_input = drop_class_token(done.mlp_input, grid)
            if layer in layers:
                intermediates[layer] = drop_class_token(tokens, grid)
        block = visual.transformer.resblocks[-1]
        last = run_block(block, tokens, self.last_block, 'queries' in outputs, 'keys' in outputs)
        final = visual.ln_post(last.tokens) if self.last_block.final_norm else last.tokens
        dense = drop_class_token(final, grid)
        patch = F.conv2d(dense, visual.proj.T[:, :, None, None].to(dense.dtype))
        return DenseFeatures(
            patch=patch,
            keys=None if last.keys is None else last.keys[:, 1:],
            queries=None if last.queries is None else last.queries[:, 1:],
            tokens=dense if 'tokens' in outputs else None,
            embedding=self._embedding(block, tokens) if 'embedding' in outputs else None,
            mlp_input=mlp_input,
            intermediates=tuple(intermediates[layer] for layer in layers),
        )

    def mlp_input(self, image: Tensor) -> Tensor:
        """The map ``mlp_input`` alone: nothing behind it is computed.

        Args:
            image: (B, 3, H, W), normalised.

        Returns:
            (B, C, h, w).
        """
        tokens, grid = self._embed(image)
        last = self._mlp_block
        for block in self.visual.transformer.resblocks:
            if block is last:
                break
            tokens = run_block(block, tokens, PLAIN_BLOCK).tokens
        attended = run_block(last, tokens, _ATTENTION_ONLY).tokens
        return drop_class_token(last.ln_2(attended), grid)

    def _embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens entering the first block (B, 1 + h*w, C), and the grid."""
        visual = self.visual
        patches = visual.conv1(self.pad(image))
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        return visual.ln_pre(tokens + self._position(grid, tokens)), grid

    @property
    def _mlp_block(self) -> nn.Module:
        blocks = self.visual.transformer.resblocks
        if not -len(blocks) <= self.mlp_input_layer <= -2:
            raise UserError(
                f'encoder.mlp_input_layer must lie in -{len(blocks)}..-2 for a CLIP of '
                f'{len(blocks)} blocks (the last one is replaced), got {self.mlp_input_layer}'
            )
        return blocks[self.mlp_input_layer]

    def pad(self, image: Tensor) -> Tensor:
        """Images filled up at the right and bottom to a multiple of the patch.

        Args:
            image: (B, 3, H, W), normalised.
        """
        height, width = image.shape[-2:]
        bottom = math.ceil(height / self.stride[0]) * self.stride[0] - height
        right = math.ceil(width / self.stride[1]) * self.stride[1] - width
        if not (bottom or right):
            return image
        padded = self.pad_value.to(image.dtype).repeat(
            len(image), 1, height + bottom, width + right
        )
        padded[..., :height, :width] = image
        return padded

    def _position(self, grid: tuple[int, int], tokens: Tensor) -> Tensor:
        source = self.visual.positional_embedding
        # The version counts in-place writes, so that loading other weights renews the cache.
        key = (grid, tokens.dtype, tokens.device, source.data_ptr(), source._version)
        if key not in self._positions:
            self._positions[key] = (
                resize_position_embedding(
                    source.detach(), tuple(self.visual.grid_size), grid, self.position_resize
                )
                .to(tokens)
                .clone()
            )
            while len(self._positions) > _CACHED_GRIDS:
                self._positions.popitem(last=False)
        self._positions.move_to_end(key)
        return self._positions[key]

    def _embedding(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """The image embedding of CLIP itself: plain last block, its own pooling."""
        pooled, _ = self.visual._pool(block(tokens))
        return pooled @ self.visual.proj
