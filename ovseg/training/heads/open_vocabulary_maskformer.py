"""MaskFormer whose queries are embedded in CLIP's text space: mask proposals for any words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import MaskFormerHead
from mmdet.models.layers.pixel_decoder import PixelDecoder
from mmengine.config import ConfigDict
from mmengine.model import caffe2_xavier_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.text.cosine import cosine_logits, with_no_object
from ovseg.training.heads.maskformer_settings import decoder_settings, loss_settings, mlp

_MASK_LAYERS = 3
# Levels of the backbone: strides 4, 8, 16 and 32.
_LEVELS = 4
_MASK_STRIDE = 4


@dataclass(frozen=True)
class Proposals:
    """Masks without classes, and what each of them is about.

    Attributes:
        mask_logits: (B, Q, h, w) at a quarter of the padded image.
        embeddings: (B, Q, E) in the text space, not normalised.
    """

    mask_logits: Tensor
    embeddings: Tensor


@MODELS.register_module()
class OpenVocabularyMaskFormer(MaskFormerHead):
    """mmdet's MaskFormer with an embedding a query instead of scores of fixed classes.

    The class scores are cosines with text embeddings, given at call time, and with one learned
    embedding for "no object". Padding of an image is attended to, as the published models do; mmdet
    would mask it out and measure positions by the image without it.

    Args:
        in_channels: of the backbone's levels, strides 4, 8, 16 and 32.
        embed_dim: E of the text space.
        num_queries: Q.
        feat_channels: width of the pixel decoder.
        mask_channels: width of mask features and mask embeddings.
        hidden_channels: width of the transformer.
        num_heads: of its attentions.
        feedforward_channels: of its MLPs.
        num_layers: of its decoder; each is supervised.
        dropout: in the decoder.
        class_channels: width inside the MLP that gives embeddings.
        class_layers: of that MLP.
        norm_groups: of the pixel decoder's group norms.
        class_weight: of the cross entropy, and of the class in matching.
        mask_weight: of the focal loss, and in matching.
        dice_weight: of the Dice loss, and in matching.
        no_object_weight: of "no object" among the classes of the cross entropy.
        ignore_index: label without a class.
        init_cfg: as in mmengine.

    Raises:
        UserError: other than four levels, or widths that do not fit each other.

    Source: OVSeg (arXiv 2210.04150) section 3.1; MaskFormer (arXiv 2107.06278); constants of
        facebookresearch/ov-seg.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int,
        num_queries: int = 100,
        feat_channels: int = 256,
        mask_channels: int = 256,
        hidden_channels: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        num_layers: int = 6,
        dropout: float = 0.1,
        class_channels: int = 1024,
        class_layers: int = 2,
        norm_groups: int = 32,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        ignore_index: int = 255,
        init_cfg: dict | None = None,
    ) -> None:
        _check_widths(in_channels, feat_channels, norm_groups, hidden_channels, num_heads)
        super().__init__(
            in_channels=list(in_channels),
            feat_channels=feat_channels,
            out_channels=mask_channels,
            num_things_classes=0,
            num_stuff_classes=0,  # the text tells, see _expect_classes
            num_queries=num_queries,
            pixel_decoder=ConfigDict(
                type=PixelDecoder, norm_cfg={'type': 'GN', 'num_groups': norm_groups}
            ),
            enforce_decoder_input_project=True,
            transformer_decoder=decoder_settings(
                hidden_channels, num_heads, feedforward_channels, num_layers, dropout
            ),
            positional_encoding={'num_feats': hidden_channels // 2, 'normalize': True},
            init_cfg=init_cfg,
            **loss_settings(class_weight, mask_weight, dice_weight, no_object_weight),
        )
        # mmdet derives these widths from others.
        self.query_embed = nn.Embedding(num_queries, hidden_channels)
        self.mask_embed = mlp(hidden_channels, hidden_channels, mask_channels, _MASK_LAYERS)
        self.cls_embed = mlp(hidden_channels, class_channels, embed_dim, class_layers)
        self.non_object_embedding = nn.Parameter(torch.empty(1, embed_dim))
        nn.init.normal_(self.non_object_embedding, std=embed_dim**-0.5)
        self.no_object_weight = no_object_weight
        self.ignore_index = ignore_index

    def init_weights(self) -> None:
        """Initialises as mmdet does, and the coarsest pair of convolutions that it leaves out."""
        super().init_weights()
        for convolutions in (self.pixel_decoder.lateral_convs, self.pixel_decoder.output_convs):
            last: ConvModule = convolutions[-1]
            caffe2_xavier_init(last.conv, bias=0)

    # Images ----------------------------------------------------------------------------------

    def forward(self, features: Sequence[Tensor], image_size: tuple[int, int]) -> Proposals:
        """Mask proposals of a batch.

        Args:
            features: the backbone's levels, strides 4, 8, 16 and 32.
            image_size: (height, width) of the padded images.

        Raises:
            UserError: levels of other strides.
        """
        _check_levels(features, image_size)
        hidden, mask_features = self._decode(features)
        embeddings, mask_logits = self._read_out(hidden[-1:], mask_features)
        return Proposals(mask_logits[-1], embeddings[-1])

    def forward_layers(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (L, B, Q, E) and mask logits (L, B, Q, h, w) after each decoder layer.

        Args:
            features: see :meth:`forward`.
        """
        return self._read_out(*self._decode(features))

    def classify(self, embeddings: Tensor, text_features: Tensor) -> Tensor:
        """Class logits: cosines with the words and with "no object", times 100.

        Args:
            embeddings: (..., E), not normalised.
            text_features: (K, E), normalised.

        Returns:
            (..., K + 1); the last column is "no object".

        Raises:
            UserError: text features of another space.
        """
        if text_features.shape[-1] != self.non_object_embedding.shape[-1]:
            raise UserError(
                f'the text embeddings have {text_features.shape[-1]} channels, but '
                f'proposals.embed_dim is {self.non_object_embedding.shape[-1]}; '
                'choose the CLIP that the proposals were trained with'
            )
        return cosine_logits(embeddings, with_no_object(text_features, self.non_object_embedding))

    def _decode(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Queries after each decoder layer (L, B, Q, C), and mask features (B, M, h, w)."""
        mask_features, coarsest = self.pixel_decoder(features, None)
        memory = self.decoder_input_proj(coarsest)
        # Without a mask the encoding spans the whole padded map.
        position = self.decoder_pe(None, memory).flatten(2).transpose(1, 2)
        memory = memory.flatten(2).transpose(1, 2)
        query_position = self.query_embed.weight.expand(len(memory), -1, -1)
        hidden = self.transformer_decoder(
            query=torch.zeros_like(query_position),
            key=memory,
            value=memory,
            query_pos=query_position,
            key_pos=position.to(memory),
            key_padding_mask=None,
        )
        return hidden, mask_features

    def _read_out(self, hidden: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (L, B, Q, E) and mask logits (L, B, Q, h, w) of some layers' queries."""
        mask_logits = torch.einsum('lbqc,bchw->lbqhw', self.mask_embed(hidden), mask_features)
        return self.cls_embed(hidden), mask_logits

    # Training --------------------------------------------------------------------------------

    def loss(
        self, features: Sequence[Tensor], text_features: Tensor, data_samples: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Losses of every decoder layer, each with a matching of its own.

        Args:
            features: see :meth:`forward`.
            text_features: (K, E), normalised, in label order.
            data_samples: with ``gt_sem_seg``, padded to the images' size.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice`` of the last layer and ``d{i}.*`` of layer i.

        Raises:
            UserError: labels without a text feature; see also :meth:`forward`.
        """
        labels = [sample.gt_sem_seg.data.squeeze(0) for sample in data_samples]
        targets = [class_masks(map_, self.ignore_index) for map_ in labels]
        _check_levels(features, tuple(labels[0].shape))
        embeddings, mask_logits = self.forward_layers(features)
        return self.losses(self.classify(embeddings, text_features), mask_logits, targets)

    def losses(
        self, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """Losses of predictions; see :meth:`loss`.

        Args:
            class_logits: (L, B, Q, K + 1).
            mask_logits: (L, B, Q, h, w).
            targets: B, from :func:`class_masks`.

        Raises:
            UserError: a label that is no class.
        """
        self._expect_classes(class_logits.shape[-1] - 1, targets)
        metas: list[dict] = [{}] * len(targets)
        # Half precision rounds sure probabilities to 1, and the matching takes logarithms of the
        # rest.
        with torch.autocast(mask_logits.device.type, enabled=False):
            found = self.loss_by_feat(
                class_logits.float(), mask_logits.float(), list(targets), metas
            )
        return {name: value.squeeze() for name, value in found.items()}

    def _expect_classes(self, count: int, targets: Sequence[InstanceData]) -> None:
        largest = max((int(t.labels.max()) for t in targets if len(t.labels)), default=-1)
        if largest >= count:
            raise UserError(
                f'the label maps hold class {largest}, but there are words for {count} classes '
                f'(0 to {count - 1}); check model.vocabulary and ignore_index'
            )
        self.num_classes = self.num_stuff_classes = count
        self.class_weight = [1.0] * count + [self.no_object_weight]
        self.loss_cls.class_weight = self.class_weight

    def get_targets(
        self,
        cls_scores_list: list[Tensor],
        mask_preds_list: list[Tensor],
        batch_gt_instances: list[InstanceData],
        *args: Any,
        **kwargs: Any,
    ) -> tuple:
        """mmdet's, but the mask losses are divided by all targets, not by those matched.

        The two differ where an image has more classes than there are queries.
        """
        *parts, _ = super().get_targets(
            cls_scores_list, mask_preds_list, batch_gt_instances, *args, **kwargs
        )
        return (*parts, sum(len(instances) for instances in batch_gt_instances))


def class_masks(labels: Tensor, ignore_index: int = 255) -> InstanceData:
    """The binary mask of each class in a label map.

    Args:
        labels: (H, W), whole numbers.
        ignore_index: label without a class.

    Returns:
        ``labels`` (n,) ascending and ``masks`` (n, H, W) int64 in {0, 1}.

    Example:
        >>> class_masks(torch.tensor([[3, 255], [0, 3]])).labels
        tensor([0, 3])
    """
    classes = labels.unique()
    classes = classes[classes != ignore_index].long()
    return InstanceData(labels=classes, masks=(labels == classes[:, None, None]).long())


def _check_widths(
    in_channels: Sequence[int], feat: int, groups: int, hidden: int, heads: int
) -> None:
    if len(in_channels) != _LEVELS:
        raise UserError(
            f'proposals.in_channels has {len(in_channels)} numbers; give one for each of the '
            "backbone's levels of strides 4, 8, 16 and 32"
        )
    for key, width, parts, by in (
        ('feat_channels', feat, groups, 'norm_groups'),
        ('hidden_channels', hidden, heads, 'num_heads'),
        ('hidden_channels', hidden, 4, 'sine and cosine of two axes'),
    ):
        if width % parts:
            raise UserError(
                f'proposals.{key}={width} cannot be divided by {parts} ({by}); choose a multiple'
            )


def _check_levels(features: Sequence[Tensor], image_size: tuple[int, int]) -> None:
    wanted = [-(-side // _MASK_STRIDE) for side in image_size]
    found = list(features[0].shape[-2:])
    if len(features) != _LEVELS or found != wanted:
        raise UserError(
            f'{len(features)} levels came from the backbone, the first of {found[0]} x {found[1]} '
            f'for images of {image_size[0]} x {image_size[1]}; set its out_indices and strides so '
            f'that {_LEVELS} come, the first of {wanted[0]} x {wanted[1]}'
        )
