"""Dense features of CLIP's ModifiedResNet, over open_clip's unmodified modules."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.attention_pool import attend, mean_and_positions
from ovseg.encoders.dense import NO_MARGINS, DenseFeatures, Margins
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError
from ovseg.precision import in_own_precision
from ovseg.sizes import spatial_size

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
    casts_products = True

    def __init__(self, visual: ModifiedResNet, pooling: str = 'value') -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UserError(f"encoder.pooling must be one of {list(POOLINGS)}, got '{pooling}'")
        self.visual = visual
        self.pooling = pooling
        self.embed_dim = visual.output_dim
        self.stride = (32, 32)

    @in_own_precision
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
        visual, pool = self.visual, self.visual.attnpool
        image = self.pad(image).to(visual.conv1.weight.dtype)
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
        with_tokens = 'tokens' in outputs
        values = pool.v_proj(flat) if self.pooling == 'value' or with_tokens else None
        if self.pooling == 'value':
            patch = pool.c_proj(values)
        else:
            tokens = mean_and_positions(dense)
            patch = attend(pool, tokens, tokens)[:, 1:]
        return DenseFeatures(
            patch=patch.transpose(1, 2).unflatten(2, grid),
            keys=pool.k_proj(flat) if 'keys' in outputs else None,
            queries=pool.q_proj(flat) if 'queries' in outputs else None,
            tokens=None
            if values is None or not with_tokens
            else values.transpose(1, 2).unflatten(2, grid),
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
            pool.positional_embedding, (side, side), spatial_size(dense), 'always'
        )
        tokens = mean_and_positions(dense) + position
        return attend(pool, tokens, tokens)[:, 0]
