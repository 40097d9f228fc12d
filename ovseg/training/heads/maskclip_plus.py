"""MaskCLIP+'s head: a decoder of mmseg's, and text rows in the place of its classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ovseg.registry import MODELS
from ovseg.text import Classifier
from ovseg.training.heads.decode_modules import build_decode_module
from ovseg.training.losses import upsampled_cross_entropy


@MODELS.register_module()
class MaskCLIPPlusHead(BaseModule):
    """Scores are dot products of trained features with fixed text rows.

    Args:
        decode_module: config, see :func:`~ovseg.training.heads.build_decode_module`.
        channels: D, dimensions of the text space.
        num_classes: text rows; the segmentor sets it from its vocabulary.
        cls_bg: puts a learned background row first, as class 0.
        norm_feat: divides features by their length before they are scored.
        ignore_index: label without a loss.
        avg_non_ignore: mean of the loss over labelled pixels, instead of all pixels. The published
            numbers are with the mean over all.
        init_cfg: as in mmengine.

    Attributes:
        text_embeddings: (num_classes, D), a buffer: it is saved, and never trained.

    Source: MaskCLIP (arXiv 2112.01071) section 3.3.
    """

    align_corners = False

    def __init__(
        self,
        decode_module: Mapping[str, Any],
        channels: int,
        num_classes: int,
        cls_bg: bool = False,
        norm_feat: bool = False,
        ignore_index: int = 255,
        avg_non_ignore: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.channels = channels
        self.norm_feat = norm_feat
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore
        self.decode_module = build_decode_module(decode_module, channels)
        self.register_buffer('text_embeddings', torch.zeros(num_classes, channels))
        self.bg_embeddings = nn.Parameter(torch.randn(1, channels)) if cls_bg else None

    @property
    def num_classes(self) -> int:
        """K, the background included."""
        return len(self.text_embeddings) + (self.bg_embeddings is not None)

    out_channels = num_classes

    def rows(self) -> Tensor:
        """(K, D): the learned background's unit row, if there is one, then the text rows."""
        if self.bg_embeddings is None:
            return self.text_embeddings
        background = self.bg_embeddings / self.bg_embeddings.norm(dim=-1, keepdim=True)
        return torch.cat([background, self.text_embeddings])

    def classifier(self, categories: Tensor | None = None) -> Classifier:
        """The rows as a classifier, without a temperature: training had none.

        Args:
            categories: (P,) class numbers, ascending or not, to take the rows of; None for all.
        """
        rows = self.rows() if categories is None else self.rows()[categories]
        return Classifier(
            weight=rows,
            class_index=torch.arange(len(rows), device=rows.device),
            num_classes=len(rows),
            logit_scale=1.0,
        )

    def features(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps -> (B, D, h, w) in the text space, not normalised."""
        return self.decode_module(inputs)

    def score(self, features: Tensor, categories: Tensor | None = None) -> Tensor:
        """Features (B, D, h, w) -> scores (B, K, h, w), float32.

        Args:
            features: of :meth:`features`.
            categories: see :meth:`classifier`.
        """
        return self.classifier(categories).row_scores(features, normalize=self.norm_feat)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps -> scores (B, K, h, w)."""
        return self.score(self.features(inputs))

    def loss_by_feat(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy and accuracy at label size.

        Args:
            scores: (B, K, h, w).
            labels: (B, H, W) int64.

        Returns:
            ``loss_ce``; ``acc_seg``, the percentage of pixels with a label that are right; and
            ``labelled``, the percentage of pixels that have a label.
        """
        sums = upsampled_cross_entropy(scores, labels, self.ignore_index)
        return {
            'loss_ce': sums.mean(self.avg_non_ignore),
            'acc_seg': sums.accuracy,
            'labelled': 100.0 * sums.labelled / sums.pixels,
        }
