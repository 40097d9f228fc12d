"""The losses of mmseg's decode heads, if possible without scores at the size of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures import SegDataSample
from torch import Tensor

from ovseg.training.losses import upsampled_cross_entropy


def decode_loss(
    head: BaseDecodeHead, inputs: Any, samples: Sequence[SegDataSample], train_cfg: Any
) -> dict[str, Tensor]:
    """What ``head.loss`` returns; with much less memory for a head that has mmseg's usual loss.

    Usual is softmax cross-entropy, averaged, on scores that are upsampled with align_corners False.
    A head with another loss, with several, with class weights, a pixel sampler or a method of its
    own computes them itself.

    Args:
        head: of any kind.
        inputs: what its ``forward`` takes.
        samples: with ``gt_sem_seg``.
        train_cfg: as in mmseg.

    Returns:
        The loss under its name, and ``acc_seg``, the percentage of labelled pixels that are right.
    """
    if not _has_usual_loss(head):
        return head.loss(inputs, samples, train_cfg)
    scores = head.forward(inputs)
    labels = head._stack_batch_gt(samples).squeeze(1)
    sums = upsampled_cross_entropy(scores, labels, head.ignore_index)
    usual = head.loss_decode
    return {
        usual.loss_name: usual.loss_weight * sums.mean(usual.avg_non_ignore),
        'acc_seg': sums.accuracy,
    }


def _has_usual_loss(head: BaseDecodeHead) -> bool:
    kind, loss = type(head), head.loss_decode
    return (
        kind.loss is BaseDecodeHead.loss
        and kind.loss_by_feat is BaseDecodeHead.loss_by_feat
        and not head.align_corners
        and head.sampler is None
        and type(loss) is CrossEntropyLoss
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.reduction == 'mean'
        and loss.class_weight is None
    )
