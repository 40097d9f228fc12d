"""CLIP's vision transformer as a trained backbone: a pyramid from one grid, and the text space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import drop_path
from torch import Tensor, nn

from ovseg.affinity.last_block import LastBlockSpec, drop_prefix, run_block
from ovseg.encoders.clip import ACTIVATIONS, Activation
from ovseg.encoders.clip_initialisation import Pretrained, load_vision_tower
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError
from ovseg.registry import MODELS

_LEVELS = 4
# The attention alone: residual and MLP follow with their drop path.
_BRANCH = LastBlockSpec('qk', residual=False, ffn=False)


@MODELS.register_module()
class CLIPVisionTransformer(VisionTransformer):
    """CLIP's ViT with maps of strides 4, 8, 16 and 32 made from four of its blocks.

    Args:
        input_resolution: pixels a side that the position table stands for.
        patch_size: 16 or 8.
        width: C, channels of the tokens and of every level.
        layers: transformer blocks.
        heads: of each block.
        output_dim: D of the text space.
        drop_path_rate: of the last block; it grows linearly from 0 at the first.
        out_indices: the blocks, from 0, whose patches make the four levels, fine to coarse in the
            order of the blocks.
        pretrained: CLIP to start from, see
            :func:`~ovseg.encoders.clip_initialisation.clip_state`; None for random weights, or
            where a checkpoint is loaded. Read by :meth:`init_weights`.
        get_embeddings: also gives the patches after the last block in the text space, at the
            stride of the patches.
        activation: ``'quick_gelu'`` of OpenAI's models or ``'gelu'``.
        class_embedding_twice: adds the class embedding once more to the class token. The published
            weights were trained so; False is CLIP's own sum.

    Raises:
        UserError: another patch size, blocks that do not exist, or an unknown activation.

    Source: DenseCLIP (arXiv 2112.01518).
    """

    # None without get_embeddings.
    ln_post: nn.LayerNorm | None
    proj: nn.Parameter | None

    def __init__(
        self,
        input_resolution: int = 224,
        patch_size: int = 16,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        output_dim: int = 512,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (3, 5, 7, 11),
        pretrained: Pretrained | None = None,
        get_embeddings: bool = False,
        activation: Activation = 'quick_gelu',
        class_embedding_twice: bool = True,
    ) -> None:
        pyramid = _pyramid(patch_size, width)
        if activation not in ACTIVATIONS:
            raise UserError(
                f"backbone.activation must be one of {list(ACTIVATIONS)}, got '{activation}'"
            )
        out_indices = tuple(sorted(out_indices))
        if len(out_indices) != _LEVELS or not all(0 <= index < layers for index in out_indices):
            raise UserError(
                f'backbone.out_indices must name {_LEVELS} of the blocks 0..{layers - 1}, '
                f'got {list(out_indices)}'
            )
        super().__init__(
            image_size=input_resolution,
            patch_size=patch_size,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=4.0,
            output_dim=output_dim,
            act_layer=ACTIVATIONS[activation],
        )
        self.fpn1, self.fpn2, self.fpn3, self.fpn4 = pyramid
        if not get_embeddings:
            self.ln_post = self.proj = None
        self.out_indices = out_indices
        self.get_embeddings = get_embeddings
        self.class_embedding_twice = class_embedding_twice
        self.pretrained = pretrained
        self.drop_path_rates = torch.linspace(0, drop_path_rate, layers, device='cpu').tolist()

    def init_weights(self) -> None:
        """Loads the CLIP that ``pretrained`` names; ``fpn*`` stay random, CLIP has none.

        Raises:
            UserError: its weights do not fit.
        """
        if self.pretrained is not None:
            unread = () if self.get_embeddings else ('ln_post.', 'proj')
            load_vision_tower(self, self.pretrained, ('fpn',), unread, keep=self.get_embeddings)

    def forward(self, image: Tensor) -> tuple[Tensor, ...] | TextAlignedFeatures:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised; rows and columns beyond whole patches are not seen.

        Returns:
            Four levels (B, C, h, w) of strides 4, 8, 16 and 32; with ``get_embeddings`` inside of
            :class:`~ovseg.encoders.dense.TextAlignedFeatures`.
        """
        tokens, grid = self.embed(image)
        maps = {}
        for index, (block, rate) in enumerate(
            zip(self.transformer.resblocks, self.drop_path_rates, strict=True)
        ):
            tokens = self._run(block, tokens, rate)
            if index in self.out_indices:
                maps[index] = drop_prefix(tokens, grid)
        operations = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        levels = tuple(
            operation(maps[index])
            for operation, index in zip(operations, self.out_indices, strict=True)
        )
        if self.ln_post is None or self.proj is None:
            return levels
        embeddings = self.ln_post(tokens) @ self.proj
        return TextAlignedFeatures(levels, embeddings[:, 0], drop_prefix(embeddings, grid))

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens entering the first block (B, 1 + h*w, C), class token first, and their (h, w).

        Args:
            image: (B, 3, H, W), normalised.
        """
        patches = self.conv1(image)
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).transpose(1, 2)
        positions = resize_position_embedding(
            self.positional_embedding, tuple(self.grid_size), grid, 'always', 'bilinear'
        ).to(patches.dtype)
        first = self.class_embedding.to(patches.dtype)
        if self.class_embedding_twice:
            first = first + first  # as exact as 2 * first, for which torch.export has no rule
        first = (first + positions[0]).expand(len(patches), 1, -1)
        return self.ln_pre(torch.cat([first, patches + positions[1:]], dim=1)), grid

    def _run(self, block: ResidualAttentionBlock, tokens: Tensor, rate: float) -> Tensor:
        # Not block(tokens): besides the drop path, MultiheadAttention without gradients holds
        # whole attention matrices.
        attended = run_block(block, tokens, _BRANCH).tokens
        tokens = tokens + drop_path(attended, rate, self.training)
        branch = block.ls_2(block.mlp(block.ln_2(tokens)))
        return tokens + drop_path(branch, rate, self.training)


def _pyramid(patch_size: int, width: int) -> tuple[nn.Module, ...]:
    """What brings the patches' grid to strides 4, 8, 16 and 32."""

    def norm() -> nn.Module:
        return nn.GroupNorm(1, width)

    def double() -> nn.Module:
        return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)

    if patch_size == 16:
        return (
            # The batch norm is synchronised by the Runner's `sync_bn`, as everywhere.
            nn.Sequential(norm(), double(), nn.BatchNorm2d(width), nn.GELU(), double()),
            nn.Sequential(norm(), double()),
            norm(),
            nn.Sequential(norm(), nn.MaxPool2d(2)),
        )
    if patch_size == 8:
        return (
            nn.Sequential(norm(), double()),
            norm(),
            nn.Sequential(norm(), nn.MaxPool2d(2)),
            nn.Sequential(norm(), nn.MaxPool2d(4)),
        )
    raise UserError(
        f'backbone.patch_size={patch_size} has no pyramid of strides 4 to 32; use a CLIP with '
        'patches of 16 or 8'
    )
