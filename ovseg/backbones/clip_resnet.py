"""Dense features of CLIP's ModifiedResNet, over open_clip's unmodified modules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.backbones.dense import NO_MARGINS, DenseFeatures, Margins
from ovseg.backbones.position import resize_position_embedding
from ovseg.errors import UserError

POOLINGS = ('value', 'attention')


class CLIPResNetEncoder(nn.Module):
    """Patch features in the text space from a CLIP ResNet; the attention pooling is taken apart.

    Args:
        visual: open_clip's ``ModifiedResNet``. It is read, never written or hooked.
        pooling: ``'value'`` keeps value and output projection at each position (MaskCLIP);
            ``'attention'`` runs the whole attention with every position as query, the mean token
            included, without position embedding (MaskCLIP's ``attn_pooling`` ablation).

    Raises:
        UserError: unknown pooling.
    """

    has_patch_grid = False

    def __init__(self, visual: ModifiedResNet, pooling: str = 'value') -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UserError(f"encoder.pooling must be one of {list(POOLINGS)}, got '{pooling}'")
        self.visual = visual
        self.pooling = pooling
        self.embed_dim = visual.output_dim
        self.stride = (32, 32)

    def forward(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images; only the fields named in `outputs` cost extra.

        Args:
            image: (B, 3, H, W), normalised; any size from 32 pixels a side. No padding: the stem
                rounds up, every pooling rounds down.
            outputs: optional fields of :class:`DenseFeatures`; ``'tokens'`` are the projected
                values.
            layers: stages, counted from 1, whose outputs are wanted.

        Source: MaskCLIP (arXiv 2112.01071) section 3.2.
        """
        image = self.pad(image)
        visual, pool = self.visual, self.visual.attnpool
        dense = visual.stem(image)
        stages = {}
        for layer, stage in enumerate(
            (visual.layer1, visual.layer2, visual.layer3, visual.layer4), start=1
        ):
            dense = stage(dense)
            if layer in layers:
                stages[layer] = dense
        grid = dense.shape[-2:]
        flat = dense.flatten(2).transpose(1, 2)
        values = pool.v_proj(flat) if self.pooling == 'value' or 'tokens' in outputs else None
        is_value = self.pooling == 'value'
        patch = pool.c_proj(values) if is_value else _attend_everywhere(pool, flat)
        return DenseFeatures(
            patch=patch.transpose(1, 2).unflatten(2, grid),
            keys=pool.k_proj(flat) if 'keys' in outputs else None,
            queries=pool.q_proj(flat) if 'queries' in outputs else None,
            tokens=values.transpose(1, 2).unflatten(2, grid) if 'tokens' in outputs else None,
            embedding=self._embedding(dense) if 'embedding' in outputs else None,
            intermediates=tuple(stages[layer] for layer in layers),
        )

    def margins(self, size: tuple[int, int]) -> Margins:
        """The map is stretched over the image: nothing reaches beyond it."""
        return NO_MARGINS

    def pad(self, image: Tensor) -> Tensor:
        """Images of at least one output cell: the poolings would reduce smaller ones to nothing.

        Args:
            image: (B, 3, H, W), normalised.
        """
        bottom, right = max(32 - image.shape[-2], 0), max(32 - image.shape[-1], 0)
        return F.pad(image, (0, right, 0, bottom)) if bottom or right else image

    def _embedding(self, dense: Tensor) -> Tensor:
        """CLIP's own pooling, with its position embedding resized to the grid."""
        pool = self.visual.attnpool
        side = round((len(pool.positional_embedding) - 1) ** 0.5)
        position = resize_position_embedding(
            pool.positional_embedding, (side, side), tuple(dense.shape[-2:]), 'always'
        )
        tokens = dense.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + position
        return _multi_head(pool, tokens, tokens)[:, 0]


def _attend_everywhere(pool: AttentionPool2d, tokens: Tensor) -> Tensor:
    """All positions query the mean token and all positions: (B, N, C) -> (B, N, D)."""
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
    return _multi_head(pool, tokens, tokens)[:, 1:]


def _multi_head(pool: AttentionPool2d, queries: Tensor, tokens: Tensor) -> Tensor:
    def split(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        split(pool.q_proj(queries)), split(pool.k_proj(tokens)), split(pool.v_proj(tokens))
    )
    return pool.c_proj(mixed.transpose(1, 2).flatten(2))
