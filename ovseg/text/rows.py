"""Classifiers from ready rows: published ``*_clip_text.pth`` files instead of a text tower."""

from __future__ import annotations

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.text.classifier import Classifier
from ovseg.text.row_files import worded_classes
from ovseg.vocabulary.vocabulary import Vocabulary


def classifier_from_rows(
    vocabulary: Vocabulary, rows: Tensor, logit_scale: float, fingerprint: str
) -> Classifier:
    """The classifier whose rows are given, one for each class that has words.

    Args:
        vocabulary: names, colours and rejection rule; its words are not encoded.
        rows: (C, D) in class order, used as they are (published ones have unit length).
        logit_scale: factor before the softmax.
        fingerprint: where the rows come from.

    Raises:
        UserError: the numbers of rows and classes differ, or a row holds NaN.
    """
    labels = worded_classes(vocabulary)
    if len(labels) != len(rows):
        raise UserError(
            f'{fingerprint} holds {len(rows)} text embeddings but the vocabulary has '
            f'{len(labels)} classes with words; give the file that was made from these classes'
        )
    if not rows.isfinite().all():
        raise UserError(f'{fingerprint} holds NaN or infinity, it is damaged')
    return Classifier(
        weight=rows.float(),
        class_index=torch.tensor(labels),
        num_classes=len(vocabulary),
        logit_scale=logit_scale,
        rejection=vocabulary.rejection,
        background_index=vocabulary.background_index,
        # In no known text model's name: whether features fit them, only their maker knows.
        origin=(fingerprint,) * len(rows),
    )
