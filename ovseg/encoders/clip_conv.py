"""Dense features of CLIPs without a transformer block at their end: FastViT, ConvNeXt."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.dense import NO_MARGINS, DenseFeatures, Margins
from ovseg.errors import UserError
from ovseg.precision import dtype_of, in_own_precision


def is_convolutional(visual: nn.Module) -> bool:
    """Whether :class:`CLIPConvEncoder` knows this kind of vision tower."""
    return isinstance(visual, TimmModel) and isinstance(visual.trunk, FastVit | ConvNeXt)


class CLIPConvEncoder(nn.Module):
    """Patch features in the text space from a convolutional tower of timm's.

    Such a tower averages its last map and projects the average. Here each place is projected by
    itself, so the features' average is the image embedding where nothing but linear layers follow
    (FastViT in MobileCLIP2-S). Where a norm follows (ConvNeXt), it is taken at each place.

    Args:
        visual: open_clip's ``TimmModel`` around a ``FastVit`` or ``ConvNeXt``. It is read, never
            written or hooked.

    Raises:
        UserError: the tower does not pool by an average.
    """

    has_patch_grid = False
    casts_products = True

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        pooling = visual.trunk.head.global_pool
        if pooling.pool_type != 'avg':
            raise UserError(
                f"a {type(visual.trunk).__name__} that pools by '{pooling.pool_type or 'nothing'}' "
                'gives its places no place in the text space; choose one that pools by average'
            )
        self.visual = visual
        widths = [
            layer.out_features
            for layer in (*visual.trunk.head.modules(), *visual.head.modules())
            if isinstance(layer, nn.Linear)
        ]
        self.embed_dim = widths[-1] if widths else visual.trunk.num_features
        self.stride = (visual.trunk.feature_info[-1]['reduction'],) * 2

    @in_own_precision
    def forward(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images; only the fields named in `outputs` cost extra.

        Args:
            image: (B, 3, H, W), normalised; any size.
            outputs: ``'tokens'`` (the last map before the projection) and ``'embedding'``.
            layers: stages, counted from 1, whose outputs are wanted.

        Raises:
            UserError: keys, queries or the input of an MLP are asked for: there are none.
        """
        if none := outputs - {'tokens', 'embedding'}:
            raise UserError(
                f'a {type(self.visual.trunk).__name__} has no attention at its end, so no '
                f'{", ".join(sorted(none))}; choose a CLIP with a vision transformer'
            )
        trunk = self.visual.trunk
        dense = trunk.stem(self.pad(image).to(dtype_of(trunk)))
        stages = {}
        for number, stage in enumerate(trunk.stages, start=1):
            dense = stage(dense)
            if number in layers:
                stages[number] = dense
        # What stands between the stages and the head: nothing in ConvNeXts with a norm in the head.
        dense = trunk.final_conv(dense) if isinstance(trunk, FastVit) else trunk.norm_pre(dense)
        return DenseFeatures(
            patch=self.project(dense),
            tokens=dense if 'tokens' in outputs else None,
            embedding=self.visual.head(trunk.forward_head(dense))
            if 'embedding' in outputs
            else None,
            intermediates=tuple(stages[layer] for layer in layers),
        )

    def project(self, dense: Tensor) -> Tensor:
        """Maps (B, C, h, w) in the text space, (B, D, h, w), each place by itself."""
        head = self.visual.trunk.head
        places = dense.flatten(2).transpose(1, 2).flatten(0, 1)[:, :, None, None]
        projected = self.visual.head(head(places))
        return (
            projected.unflatten(0, (len(dense), -1)).transpose(1, 2).unflatten(2, dense.shape[2:])
        )

    def margins(self, size: tuple[int, int]) -> Margins:
        """The map is stretched over the image: nothing reaches beyond it."""
        return NO_MARGINS

    def pad(self, image: Tensor) -> Tensor:
        """Images of at least one output cell, zeros at the right and the bottom.

        Args:
            image: (B, 3, H, W), normalised.
        """
        size = zip(self.stride, image.shape[-2:], strict=True)
        bottom, right = (max(stride - side, 0) for stride, side in size)
        return F.pad(image, (0, right, 0, bottom)) if bottom or right else image
