"""The words of a trained model: its own rows, a learned background, and new rows from a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError, nearest
from ovseg.text import Classifier
from ovseg.text.experts import refuse_experts
from ovseg.text.row_groups import Aggregation
from ovseg.vocabulary import Vocabulary, VocabularySource, build_vocabulary
from ovseg.vocabulary.parsing import VocabularyClass


def has_words(item: VocabularyClass) -> bool:
    """Whether a class has anything to encode; a background of a rule's making may have nothing."""
    return bool(item.prompts or item.descriptions)


def with_learned_background(source: VocabularySource) -> VocabularySource:
    """The words with a class ``background`` first that has none, for a learned row.

    Args:
        source: anything :func:`~ovseg.vocabulary.build_vocabulary` takes.

    Raises:
        UserError: the words have a background already.
    """
    vocabulary = build_vocabulary(source)
    if vocabulary.background_index is not None:
        raise UserError(
            'decode_head.cls_bg learns the background: give model.vocabulary the other classes '
            'only, without a background'
        )
    if isinstance(source, Mapping) and 'protocol' in source:
        return {**source, 'rejection': 'threshold'}  # keeps the protocol's name
    return vocabulary.with_rejection('threshold')


def trained_classifier(
    vocabulary: Vocabulary,
    trained: Sequence[VocabularyClass],
    rows: Tensor,
    background: Tensor | None,
    encode: Callable[[Vocabulary], Classifier] | None,
) -> Classifier:
    """The classifier of a vocabulary on the features of a trained model.

    Classes with the words of a trained class get its row; if any has others, all are encoded anew.

    Args:
        vocabulary: the classes.
        trained: the classes that it learned, in the order of `rows`.
        rows: (C, D) text rows.
        background: (1, D) learned row; it takes part where class 0 is a background without words.
        encode: the teacher's text tower, if there is one.

    Raises:
        UserError: new words, but nothing that could encode them.
    """
    known = {item.prompts: row for row, item in enumerate(trained) if not item.descriptions}
    labels = [label for label, item in enumerate(vocabulary) if has_words(item)]
    words = [vocabulary[label] for label in labels]
    new = [item.name for item in words if item.descriptions or item.prompts not in known]
    aggregation: Aggregation = 'linear'
    if not new:
        weight = rows[[known[item.prompts] for item in words]]
        index = torch.tensor(labels, device=rows.device)
        share = torch.ones(len(weight), device=rows.device, dtype=torch.float32)
    elif encode is None:
        names = [item.name for item in trained]
        raise UserError(
            f"the model was trained for {len(names)} classes and '{new[0]}' is none of them; "
            'without a teacher (model.teacher) it cannot take new words.' + nearest(new[0], names)
        )
    else:
        asked = encode(vocabulary).to(rows.device)
        refuse_experts(asked, 'a model that was trained for its rows')
        weight, index, aggregation = asked.weight, asked.class_index, asked.aggregation
        share = asked.row_weight
    if background is not None and vocabulary.background_index == 0 and not has_words(vocabulary[0]):
        weight = torch.cat([background, weight])
        index = F.pad(index, (1, 0), value=0)
        share = F.pad(share, (1, 0), value=1.0)
    return Classifier(
        weight=weight.detach().float(),
        class_index=index,
        num_classes=len(vocabulary),
        logit_scale=1.0,  # training had no temperature
        row_weight=share,
        aggregation=aggregation,
        rejection=vocabulary.rejection,
        background_index=vocabulary.background_index,
    )
