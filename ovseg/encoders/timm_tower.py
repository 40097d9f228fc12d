"""timm's vision transformers, plain and EVA, taken apart around their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from timm.layers import AttentionPoolLatent
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import Rotation
from ovseg.encoders.position import ResizeRule
from ovseg.encoders.timm_trunk import first_tokens, patch_map, position_table
from ovseg.errors import UserError

_POOLINGS = ('token', 'avg', 'map')


class TimmTower:
    """timm's ``VisionTransformer`` or ``Eva``, see :class:`~ovseg.encoders.towers.Tower`.

    Where the trunk pools by attention (SigLIP, Perception Encoder), one learned query attends to
    all tokens. A patch's place in the text space is what that head gives if the query sees this
    patch alone: then the softmax is 1, and what is left are the projected values and the head's
    MLP.

    Args:
        trunk: read, never written. It need not be built for other grids than its own.
        head: what open_clip's ``TimmModel`` has behind the trunk, or None.

    Raises:
        UserError: a pooling by several queries or of another kind.
    """

    position_rule: ResizeRule = 'antialias'

    def __init__(self, trunk: VisionTransformer | Eva, head: nn.Module | None = None) -> None:
        pool = trunk.attn_pool
        if trunk.global_pool not in _POOLINGS or (
            pool is not None and not _sees_single_tokens(pool)
        ):
            raise UserError(
                f"a timm tower that pools by '{trunk.global_pool or 'nothing'}' gives its patches "
                'no place in the text space; choose one that pools by class token, average or one '
                'learned query'
            )
        if getattr(trunk, 'rope_mixed', False):
            raise UserError(
                'a timm tower whose blocks have a rotary embedding each cannot be run densely; '
                'choose another model'
            )
        self._trunk = trunk
        self._head = nn.Identity() if head is None else head

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return list(self._trunk.blocks)

    @property
    def patch(self) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        embed = self._trunk.patch_embed
        # Not its own patch size: convolutions before it may have made the image smaller.
        height, width = (
            size // side for size, side in zip(embed.img_size, embed.grid_size, strict=True)
        )
        return height, width

    @property
    def trained_grid(self) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        height, width = self._trunk.patch_embed.grid_size
        return height, width

    @property
    def prefix(self) -> int:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._trunk.num_prefix_tokens

    @property
    def embed_dim(self) -> int:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        width = self._trunk.num_features
        for layer in (*self._trunk.head.modules(), *self._head.modules()):
            width = layer.out_features if isinstance(layer, nn.Linear) else width
        return width

    def patches(self, image: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return patch_map(self._trunk, image)

    def positions(self) -> tuple[Tensor | None, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return position_table(self._trunk)

    def assemble(self, patches: Tensor, positions: Tensor | None) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return first_tokens(self._trunk, patches, positions)

    def rotation(self, grid: tuple[int, int]) -> Rotation | None:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        rope = getattr(self._trunk, 'rope', None)
        if rope is None:
            return None
        # A trunk of one size answers every grid with its own, and would have to be changed for
        # another one: a copy is.
        rope = deepcopy(rope)
        rope.update_feat_shape(list(grid))
        return rope.get_embed(list(grid))

    def norm(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        norm = self._trunk.norm
        weight = getattr(norm, 'weight', None)
        return norm(tokens if weight is None else tokens.to(weight.dtype))

    def project(self, normed: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        tokens = normed.movedim(1, -1)
        pool = self._trunk.attn_pool
        if pool is not None:
            tokens = _pooled_alone(pool, tokens)
        tokens = self._trunk.fc_norm(tokens)
        return self._head(self._trunk.head(tokens)).movedim(-1, 1)

    def pool(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._head(self._trunk.forward_head(self.norm(tokens)))


def _sees_single_tokens(pool: nn.Module) -> bool:
    """Whether an attention pool means something for one token: one query, no positions of its own.

    timm has poolings without weights under the same attribute.
    """
    return isinstance(pool, AttentionPoolLatent) and pool.latent_len == 1 and pool.pos_embed is None


def _pooled_alone(pool: AttentionPoolLatent, tokens: Tensor) -> Tensor:
    """What an attention pool gives for each of tokens (..., C) by itself."""
    weight = pool.kv.weight.chunk(2)[1]
    bias = None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1]
    out = pool.proj(F.linear(tokens.to(weight.dtype), weight, bias))
    return out if pool.mlp is None else out + pool.mlp(pool.norm(out))
