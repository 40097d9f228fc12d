"""The text side of mask decoders: queries embedded in CLIP's text space, named by any words.

A decoder makes of an image Q masks and a vector for each. What those vectors mean is said here:
they are embedded in the text space, compared with the words and with a learned "no object", matched
with the classes of an image, and taught. Which decoder it is does not matter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import MaskFormerHead
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.task_modules.assigners import ClassificationCost, HungarianAssigner
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.text.cosine import LOGIT_SCALE, cosine_logits, with_no_object

_MASK_STRIDE = 4
_MASK_LAYERS = 3


@dataclass(frozen=True)
class Proposals:
    """Masks without classes, and what each of them is about.

    Attributes:
        mask_logits: (B, Q, h, w) at a quarter of the padded image.
        embeddings: (B, Q, E) in the text space, not normalised.
    """

    mask_logits: Tensor
    embeddings: Tensor


class TextQueryHead(MaskFormerHead):
    """A mask decoder of mmdet with an embedding a query instead of scores of fixed classes.

    The class scores are cosines with text embeddings, given at call time, and with one learned
    embedding for "no object". A subclass is one decoder: it gives :meth:`forward_layers`, in which
    ``cls_embed`` embeds the queries and ``mask_embed`` asks the mask features. mmdet's Mask2Former
    is a MaskFormer with other parts, so ``class Named(TextQueryHead, Mask2FormerHead)`` has the
    text side from here and the rest from there, its matching and mask losses at sampled points
    included.

    Args:
        in_channels: of the backbone's levels, the first of stride 4.
        embed_dim: E of the text space.
        num_queries: Q.
        query_channels: C, width of the queries.
        mask_channels: M, width of the mask features.
        class_channels: width inside the MLP that gives embeddings.
        class_layers: of that MLP.
        class_weight: of the cross entropy, and of the probability in matching.
        no_object_weight: of "no object" among the classes of the cross entropy.
        mask_costs: configs of what matching goes by beside the class.
        ignore_index: label without a class.
        train_cfg: of the decoder's losses; the matching is set here.
        decoder: arguments of mmdet's head: pixel decoder, transformer, mask losses.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        embed_dim: int,
        num_queries: int,
        query_channels: int,
        mask_channels: int,
        class_channels: int,
        class_layers: int,
        class_weight: float,
        no_object_weight: float,
        mask_costs: Sequence[Mapping[str, Any]],
        ignore_index: int = 255,
        train_cfg: Mapping[str, Any] | None = None,
        **decoder: Any,
    ) -> None:
        class_cost = {'type': ClassificationCost, 'weight': class_weight}
        super().__init__(
            in_channels=list(in_channels),
            out_channels=mask_channels,
            num_queries=num_queries,
            num_things_classes=0,
            num_stuff_classes=0,  # the text tells, see _expect_classes
            loss_cls=ConfigDict(
                type=CrossEntropyLoss, loss_weight=class_weight, class_weight=[no_object_weight]
            ),
            train_cfg=ConfigDict(
                assigner={'type': HungarianAssigner, 'match_costs': [class_cost, *mask_costs]},
                sampler={'type': MaskPseudoSampler},
                **(train_cfg or {}),
            ),
            **decoder,
        )
        # mmdet's MaskFormer derives these widths from those of its pixel decoder.
        self.query_embed = nn.Embedding(num_queries, query_channels)
        self.mask_embed = mlp(query_channels, query_channels, mask_channels, _MASK_LAYERS)
        self.cls_embed = mlp(query_channels, class_channels, embed_dim, class_layers)
        self.non_object_embedding = nn.Parameter(torch.empty(1, embed_dim))
        nn.init.normal_(self.non_object_embedding, std=embed_dim**-0.5)
        self.num_levels = len(in_channels)
        self.no_object_weight = no_object_weight
        self.ignore_index = ignore_index

    # Images ----------------------------------------------------------------------------------

    @abstractmethod
    def forward_layers(
        self, features: Sequence[Tensor], only_last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (L, B, Q, E), and mask logits (L, B, Q, h, w), of each supervised layer.

        Args:
            features: see :meth:`forward`.
            only_last: the last layer is all that is wanted: L may be 1.
        """

    def forward(self, features: Sequence[Tensor], image_size: tuple[int, int]) -> Proposals:
        """Mask proposals of a batch.

        Args:
            features: the backbone's levels, the first of stride 4.
            image_size: (height, width) of the padded images.

        Raises:
            UserError: levels of other strides.
        """
        self._check_levels(features, image_size)
        embeddings, mask_logits = self.forward_layers(features, only_last=True)
        return Proposals(mask_logits[-1], embeddings[-1])

    def classify(self, embeddings: Tensor, text_features: Tensor) -> Tensor:
        """Class logits: scaled cosines with the words and with "no object".

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
        rows = with_no_object(text_features, self.non_object_embedding)
        return cosine_logits(embeddings, rows, self.cosine_scale())

    def cosine_scale(self) -> float | Tensor:
        """What cosines are multiplied by: 100 as in OVSeg; a head may learn its own."""
        return LOGIT_SCALE

    # Training --------------------------------------------------------------------------------

    def loss(
        self, features: Sequence[Tensor], text_features: Tensor, data_samples: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Losses of every supervised layer, each with a matching of its own.

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
        self._check_levels(features, tuple(labels[0].shape))
        embeddings, mask_logits = self.forward_layers(features)
        return self.losses(self.classify(embeddings, text_features), mask_logits, targets)

    def losses(
        self, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """Losses of predictions; see :meth:`loss`.

        Args:
            class_logits: (L, B, Q, K + 1).
            mask_logits: (L, B, Q, h, w).
            targets: B, each with ``labels`` (n,) and ``masks`` (n, H, W), as of
                :func:`class_masks`.

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

    def _expect_classes(self, count: int, targets: Sequence[InstanceData]) -> None:
        """Tells mmdet's losses, which count classes when they are built, how many words there are.

        Args:
            count: K.
            targets: whose labels are to be below it.
        """
        largest = max((int(t.labels.max()) for t in targets if len(t.labels)), default=-1)
        if largest >= count:
            raise UserError(
                f'the label maps hold class {largest}, but there are words for {count} classes '
                f'(0 to {count - 1}); check model.vocabulary and ignore_index'
            )
        self.num_classes = self.num_stuff_classes = count
        self.class_weight = [1.0] * count + [self.no_object_weight]
        self.loss_cls.class_weight = self.class_weight

    def _check_levels(self, features: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        wanted = [-(-side // _MASK_STRIDE) for side in image_size]
        found = list(features[0].shape[-2:])
        if len(features) != self.num_levels or found != wanted:
            raise UserError(
                f'{len(features)} levels came from the backbone, the first of {found[0]} x '
                f'{found[1]} for images of {image_size[0]} x {image_size[1]}; set its out_indices '
                f'and strides so that {self.num_levels} come, the first of {wanted[0]} x '
                f'{wanted[1]}'
            )


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


def mlp(width: int, inner: int, outer: int, layers: int) -> nn.Sequential:
    """Linear layers with ReLU between them, not after the last.

    Args:
        width: of the input.
        inner: width between the layers.
        outer: width of the output.
        layers: count.
    """
    widths = [width, *[inner] * (layers - 1), outer]
    parts: list[nn.Module] = []
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts[:-1])
