"""Dense features of a vision transformer in a text space, over the package's own modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.last_block import (
    PLAIN_BLOCK,
    LastBlockOutput,
    LastBlockSpec,
    drop_prefix,
    finish_block,
    last_block_spec,
    project_values,
    run_block,
)
from ovseg.affinity.neighbours import neighbour_bias
from ovseg.affinity.opened_blocks import Rotation, open_block
from ovseg.affinity.variants import QueriesKeys
from ovseg.encoders.dense import DenseFeatures, Margins
from ovseg.encoders.padding import PADDINGS, Padding, pad_to_patches, padding_margins
from ovseg.encoders.position import (
    OF_ANY_GRID,
    RESIZE_RULES,
    ResizeRule,
    resize_position_embedding,
)
from ovseg.encoders.towers import open_tower
from ovseg.errors import UserError
from ovseg.precision import as_summed_by, dtype_of, in_own_precision, products_of
from ovseg.text.fingerprint import version_of
from ovseg.torch_modes import plain_torch

# Grids seen lately whose position embeddings are kept; folders of photographs have few shapes.
_CACHED_GRIDS = 16
_ATTENTION_ONLY = LastBlockSpec('qk', ffn=False)


@dataclass
class Passed:
    """What was asked of the blocks before the last one.

    Attributes:
        maps: (B, C, h, w) by layer, or under ``'mlp_input'``.
        compared: queries and keys (B, heads, N, d) of ``last_block.earlier_blocks``, in the order
            of the blocks.
        summed: (B, N, C), what entered the first of ``last_block.summed`` blocks and what the
            attentions before the last one add to it; None where the last one is alone.
    """

    maps: dict[int | str, Tensor] = field(default_factory=dict)
    compared: tuple[QueriesKeys, ...] = ()
    summed: Tensor | None = None


class CLIPViTEncoder(nn.Module):
    """Patch features in the text space from a vision transformer with a replaced last block.

    Args:
        visual: one that :func:`~ovseg.encoders.towers.open_tower` takes apart: open_clip's
            ``VisionTransformer``, or one of timm's. It is read, never written or hooked.
        last_block: preset name or fields of :class:`~ovseg.affinity.LastBlockSpec`.
        position_resize: see :func:`~ovseg.encoders.position.resize_position_embedding`; None for
            the rule of the tower's package.
        padding: what becomes of sides that are no multiple of the patch. ``'mean'`` (zeros after
            normalisation, as MaskCLIP) and ``'black'`` (zero pixels before normalisation, as
            CLIP-DINOiser's MaskCLIP) fill the right and bottom border, and the map is stretched
            over the image. ``'floor'`` leaves the last partial patch out and stretches likewise
            (SCLIP, NACLIP). ``'centred'`` puts zeros after normalisation on all sides, which
            :meth:`margins` tells, so that the map keeps its place (ClearCLIP). ``'stretch'``
            enlarges the image bicubically to the next multiple of the patch (TIPSv2, dino.txt).
        padding_multiple: with ``'centred'``, sides are filled up to a multiple of this instead of
            the patch; ProxyCLIP and CorrCLIP take 56. Where it is no multiple of the patch, the
            last partial patch is left out and the map stretched over the filled-up window.
        mean: pixel mean of the normalisation, RGB in [0, 1]; read for ``'black'`` only.
        std: pixel standard deviation, likewise.
        mlp_input_layer: block whose MLP input is given as ``mlp_input``, counted from the end like
            a Python index; CLIP-DINOiser reads -3.

    Raises:
        UserError: the tower's patches have no place in the text space, its blocks cannot be taken
            apart, or it lacks an earlier block that the last one reads.
    """

    has_patch_grid = True
    casts_products = True
    pad_value: Tensor

    def __init__(
        self,
        visual: nn.Module,
        last_block: str | dict | LastBlockSpec = 'maskclip',
        position_resize: ResizeRule | None = None,
        padding: Padding = 'mean',
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        mlp_input_layer: int = -3,
        padding_multiple: int | None = None,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.tower = tower = open_tower(visual)
        if position_resize is None:
            position_resize = tower.position_rule
        if position_resize not in RESIZE_RULES:
            raise UserError(
                f'encoder.position_resize must be one of {list(RESIZE_RULES)}, '
                f"got '{position_resize}'"
            )
        if padding not in PADDINGS:
            raise UserError(f"encoder.padding must be one of {list(PADDINGS)}, got '{padding}'")
        if padding_multiple is not None and (
            padding != 'centred' or padding_multiple < max(tower.patch)
        ):
            raise UserError(
                "encoder.padding_multiple goes with padding='centred' and is no smaller than "
                f"the patch {tower.patch}, got {padding_multiple} with '{padding}'"
            )
        for block in tower.blocks:
            open_block(block)  # which refuses what it does not know
        self.mlp_input_layer = mlp_input_layer
        self.last_block = last_block_spec(last_block)
        before = len(tower.blocks) - 1
        if not all(1 <= block <= before for block in self.last_block.earlier_blocks):
            raise UserError(
                f'last_block.earlier_blocks must lie in 1..{before} for a CLIP of {before + 1} '
                f'blocks, got {self.last_block.earlier_blocks}'
            )
        self.position_resize = position_resize
        self.padding = padding
        self.padding_unit = tower.patch if padding_multiple is None else (padding_multiple,) * 2
        self.embed_dim = tower.embed_dim
        self.stride = tower.patch
        fill = [-m / s if padding == 'black' else 0.0 for m, s in zip(mean, std, strict=True)]
        self.register_buffer('pad_value', torch.tensor(fill).view(1, 3, 1, 1), persistent=False)
        self._positions: OrderedDict[tuple, Tensor] = OrderedDict()
        self._rotations: OrderedDict[tuple, Rotation | None] = OrderedDict()
        self._bias: tuple[tuple, Tensor] | None = None

    @in_own_precision
    def trunk(
        self,
        image: Tensor,
        layers: Sequence[int] = (),
        with_mlp_input: bool = False,
        with_compared: bool = False,
    ) -> tuple[Tensor, tuple[int, int], Passed]:
        """Tokens that enter the last block.

        Args:
            image: (B, 3, H, W), normalised.
            layers: see :meth:`forward`.
            with_mlp_input: also give the map ``'mlp_input'``.
            with_compared: also give what the last block reads of earlier ones, which are
                ``last_block.earlier_blocks`` and ``last_block.summed``.

        Returns:
            (B, prefix + h*w, C) tokens; their (h, w); what else was asked for.
        """
        tokens, grid = self.embed(image)
        # By number: torch.export has another object for a block each time it is asked for.
        mlp_layer = self._mlp_layer if with_mlp_input else None
        wanted = self.last_block.earlier_blocks if with_compared else ()
        first_summed = len(self.tower.blocks) - self.last_block.summed + 1
        passed = Passed()
        for layer, block in enumerate(self.tower.blocks[:-1], start=1):
            if with_compared and layer >= first_summed:
                passed.summed = self._attended(block, tokens, grid, passed.summed)
            # Not block(tokens): without gradients MultiheadAttention takes a path that holds
            # whole attention matrices, gigabytes for ViT-B/16 at 1024 x 2048.
            done = self.run(block, tokens, grid, with_compared=layer in wanted)
            tokens = done.tokens
            if layer == mlp_layer and done.mlp_input is not None:
                passed.maps['mlp_input'] = self.patches_of(done.mlp_input, grid)
            if layer in layers:
                passed.maps[layer] = self.patches_of(tokens, grid)
            if done.compared is not None:
                passed.compared += (done.compared,)
        return tokens, grid, passed

    def forward(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images; only the fields named in `outputs` cost extra.

        Args:
            image: (B, 3, H, W), normalised with the statistics that the method wants.
            outputs: optional fields of :class:`DenseFeatures`.
            layers: blocks before the last, counted from 1, whose patch tokens are wanted as maps.

        Returns:
            Features on a grid of ceil(H / patch) x ceil(W / patch); with padding ``'floor'`` of
            floor(H / patch) x floor(W / patch), at least 1 x 1.
        """
        tokens, grid, passed = self.trunk(image, layers, 'mlp_input' in outputs, with_compared=True)
        last = self._run_last(
            tokens,
            grid,
            passed,
            with_queries='queries' in outputs,
            with_keys='keys' in outputs,
        )
        dense = self.patches_of(last.tokens, grid)
        if self.last_block.final_norm:
            dense = self.final_norm(dense)
        return DenseFeatures(
            patch=self.project(dense),
            keys=None if last.keys is None else last.keys[:, self.tower.prefix :],
            queries=None if last.queries is None else last.queries[:, self.tower.prefix :],
            tokens=dense if 'tokens' in outputs else None,
            embedding=self._embedding(tokens, grid) if 'embedding' in outputs else None,
            mlp_input=passed.maps.get('mlp_input'),
            intermediates=tuple(passed.maps[layer] for layer in layers),
        )

    def leaving(self, image: Tensor) -> Tensor:
        """Patches as the replaced last block leaves them, before the tower's final norm.

        Args:
            image: (B, 3, H, W), normalised.

        Returns:
            (B, C, h, w); :meth:`to_text_space` continues.
        """
        tokens, grid, passed = self.trunk(image, with_compared=True)
        return self.patches_of(self._run_last(tokens, grid, passed).tokens, grid)

    def _run_last(
        self, tokens: Tensor, grid: tuple[int, int], passed: Passed, **asked: bool
    ) -> LastBlockOutput:
        """Runs the last block as the specification wants it."""
        with products_of(self):
            return self.run(
                self.tower.blocks[-1],
                tokens,
                grid,
                self.last_block,
                bias=self._neighbour_bias(grid, tokens),
                earlier=passed.compared,
                onto=passed.summed,
                **asked,
            )

    def _attended(
        self, block: nn.Module, tokens: Tensor, grid: tuple[int, int], onto: Tensor | None
    ) -> Tensor:
        """Tokens with what the last block's kind of attention adds in an earlier block."""
        spec = replace(self.last_block, ffn=False)
        bias = self._neighbour_bias(grid, tokens)
        return self.run(block, tokens, grid, spec, bias=bias, onto=onto).tokens

    def run(
        self,
        block: nn.Module,
        tokens: Tensor,
        grid: tuple[int, int],
        spec: LastBlockSpec = PLAIN_BLOCK,
        **asked: Any,
    ) -> LastBlockOutput:
        """Runs one of the tower's blocks.

        Args:
            block: of the tower.
            tokens: (B, N, C) that enter it.
            grid: (h, w) of the patches, which are the last tokens.
            spec: what to compute.
            asked: further arguments of :func:`~ovseg.affinity.run_block`.
        """
        return run_block(block, tokens, spec, rotation=self._rotation(grid, tokens), **asked)

    def patches_of(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, prefix + h*w, C) without the prefix, as a map (B, C, h, w)."""
        return drop_prefix(tokens, grid, self.tower.prefix)

    @in_own_precision
    def values_of(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the last attention would mix: the projected values of the patches.

        Methods that mix them by an affinity of their own continue with :meth:`mixed` and
        :meth:`to_text_space`.

        Args:
            tokens: (B, prefix + h*w, C), see :meth:`trunk`.
            grid: (h, w).

        Returns:
            (B, C, h, w), heads side by side.
        """
        return self.patches_of(project_values(self.tower.blocks[-1], tokens), grid)

    @in_own_precision
    def mixed(self, values: Tensor, residual: Tensor | None = None, ffn: bool = False) -> Tensor:
        """Tokens after the last block, from values that were mixed outside of it.

        Args:
            values: (B, C, h, w) on any grid.
            residual: (B, C, h', w'), the patches that entered the block, resized to the values'
                grid; None leaves them out.
            ffn: whether the block's MLP follows.

        Returns:
            (B, C, h, w).
        """
        grid = tuple(values.shape[2:])
        if residual is not None and tuple(residual.shape[2:]) != grid:
            residual = F.interpolate(residual, size=grid, mode='bilinear', align_corners=False)
        kept = None if residual is None else residual.movedim(1, -1)
        block = self.tower.blocks[-1]
        tokens, _ = finish_block(block, values.movedim(1, -1), kept, ffn)
        return tokens.movedim(-1, 1).to(dtype_of(open_block(block).norm))

    def to_text_space(self, tokens: Tensor) -> Tensor:
        """Tokens after the last block through the final norm and projection.

        Args:
            tokens: (B, C, h, w) on any grid.

        Returns:
            (B, D, h, w), not normalised.
        """
        return self.project(self.final_norm(tokens))

    def final_norm(self, tokens: Tensor) -> Tensor:
        """Maps (B, C, h, w) after the last block through the tower's last layer norm."""
        return self.tower.norm(tokens.movedim(1, -1)).movedim(-1, 1)

    def project(self, normed: Tensor) -> Tensor:
        """Normed maps (B, C, h, w) in the text space, (B, D, h, w)."""
        return self.tower.project(normed)

    @in_own_precision
    def mlp_input(self, image: Tensor) -> Tensor:
        """The map ``mlp_input`` alone: nothing behind it is computed.

        Args:
            image: (B, 3, H, W), normalised.

        Returns:
            (B, C, h, w).
        """
        tokens, grid = self.embed(image)
        last = self.tower.blocks[self._mlp_layer - 1]
        for block in self.tower.blocks[: self.mlp_input_layer]:
            tokens = self.run(block, tokens, grid).tokens
        attended = self.run(last, tokens, grid, _ATTENTION_ONLY).tokens
        return self.patches_of(open_block(last).mlp_norm(attended), grid)

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens entering the first block (B, prefix + h*w, C), and the grid.

        Args:
            image: (B, 3, H, W), normalised.
        """
        patches = self.tower.patches(self.pad(image))
        grid = (patches.shape[2], patches.shape[3])
        if torch.jit.is_tracing():  # which has tensors for sizes; a trace is of one size
            grid = (int(grid[0]), int(grid[1]))
        patches = as_summed_by(self, patches.flatten(2).transpose(1, 2))
        return self.tower.assemble(patches, self._position(grid, patches)), grid

    @property
    def _mlp_layer(self) -> int:
        """The block that ``mlp_input`` is of, counted from 1."""
        blocks = self.tower.blocks
        if not -len(blocks) <= self.mlp_input_layer <= -2:
            raise UserError(
                f'encoder.mlp_input_layer must lie in -{len(blocks)}..-2 for a CLIP of '
                f'{len(blocks)} blocks (the last one is replaced), got {self.mlp_input_layer}'
            )
        return len(blocks) + self.mlp_input_layer + 1

    def margins(self, size: tuple[int, int]) -> Margins:
        """How far the feature map reaches beyond an image.

        Args:
            size: (height, width) of the image in pixels.

        Returns:
            (top, bottom, left, right) in pixels; 0 where the map is stretched over the image.
        """
        return padding_margins(size, self.padding_unit, self.padding)

    def pad(self, image: Tensor) -> Tensor:
        """Images as the patches are cut from them; see ``padding``.

        Args:
            image: (B, 3, H, W), normalised.
        """
        return pad_to_patches(image, self.padding_unit, self.padding, self.pad_value)

    def _neighbour_bias(self, grid: tuple[int, int], tokens: Tensor) -> Tensor | None:
        """The bias of the grid seen last is kept: windows of one image have one shape."""
        std = self.last_block.neighbour_std
        if std is None:
            return None
        prefix = self.tower.prefix
        if _is_recorded():
            return neighbour_bias(grid, std, tokens.device, prefix=prefix)
        key = (grid, std, tokens.device)
        if self._bias is None or self._bias[0] != key:
            with plain_torch():  # what is kept must serve a training, too
                self._bias = key, neighbour_bias(grid, std, tokens.device, prefix=prefix)
        return self._bias[1]

    def _position(self, grid: tuple[int, int], tokens: Tensor) -> Tensor | None:
        source, _ = self.tower.positions()
        if source is None:
            return None
        if _is_recorded():
            return self._position_table(grid, source).to(tokens)
        # The version counts in-place writes, so that loading other weights renews the cache.
        key = (grid, tokens.dtype, tokens.device, source.data_ptr(), version_of(source))
        return _kept(
            self._positions, key, lambda: self._position_table(grid, source).to(tokens).clone()
        )

    def _position_table(self, grid: tuple[int, int], source: Tensor) -> Tensor:
        rule = self.position_resize
        return resize_position_embedding(
            source.detach(),
            self.tower.trained_grid,
            grid,
            rule,
            any_grid=_is_exported() and rule in OF_ANY_GRID,
            prefix=self.tower.positions()[1],
        )

    def _rotation(self, grid: tuple[int, int], tokens: Tensor) -> Rotation | None:
        if _is_recorded():
            return self.tower.rotation(grid)
        return _kept(self._rotations, (grid, tokens.device), lambda: self.tower.rotation(grid))

    def _embedding(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """The image embedding of the model itself: plain last block, its own pooling."""
        with products_of(self):
            leaving = self.run(self.tower.blocks[-1], tokens, grid).tokens
        return self.tower.pool(leaving)


_Made = TypeVar('_Made')


def _kept(cache: OrderedDict[tuple, _Made], key: tuple, make: Callable[[], _Made]) -> _Made:
    """What was made for a key lately, or what is made for it now."""
    if key not in cache:
        with plain_torch():  # what is kept must serve a training, too
            cache[key] = make()
        while len(cache) > _CACHED_GRIDS:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _is_recorded() -> bool:
    """Whether torch writes a program down: tensors have no address then, and nothing is kept."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _is_exported() -> bool:
    """Whether the program is for other sizes, too, without anybody to look at them."""
    asked = getattr(torch.compiler, 'is_exporting', None)  # torch 2.5 has none
    return asked is not None and bool(asked())
