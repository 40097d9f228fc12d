"""Why a pixel got its label: the words that competed for it, the nearest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ovseg.tables import text_table
from ovseg.text import Classifier
from ovseg.text.decision_rule import DecisionRule
from ovseg.vocabulary import Vocabulary


@dataclass(frozen=True)
class WordScore:
    """What a word, or the words of a class together, scored in a pixel.

    Attributes:
        words: what was compared with the pixel: one word where the words of a class compete, else
            all that were averaged.
        label: the class that they stand for.
        score: what the model compares, of any range: the cosine of word and pixel for most; for
            one that names masks, the probabilities of the masks at the pixel, summed up.
        margin: how much the nearest words score more; 0 for these themselves.
        probability: of the class, in [0, 1].
        origin: where what was compared comes from, ``'text'`` for words.
    """

    words: tuple[str, ...]
    label: int
    score: float
    margin: float
    probability: float
    origin: str = 'text'


@dataclass(frozen=True)
class NearestWords:
    """What competed for a pixel, and who got it.

    Attributes:
        row: of the pixel, from the top.
        column: of the pixel, from the left.
        label: of the pixel in the result.
        names: one name a class, in label order.
        palette: one RGB colour a class.
        background_index: the class that means "none of these", or None.
        words: all that competed, the nearest first.
        reason: one sentence on how the label came about.
        ahead: probability of the best class minus that of the second; NaN for one class alone.
        rejected_by: the tests of the rejection rule that the pixel fails, in words.
        absent: labels of the classes that the rule has taken out of the image.
        moved_from: label that the scores alone give, where a later step gave another; else None.
        moves: whether a later step of the model moves pixels at all, whose scores say little then.
    """

    row: int
    column: int
    label: int
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    background_index: int | None
    words: tuple[WordScore, ...]
    reason: str
    ahead: float = float('nan')
    rejected_by: tuple[str, ...] = ()
    absent: tuple[int, ...] = ()
    moved_from: int | None = None
    moves: bool = False

    @property
    def name(self) -> str:
        """The class of the pixel in the result."""
        return self.names[self.label]

    def table(self, most: int = 8) -> str:
        """Words, class, score, margin and probability, as aligned text.

        Args:
            most: how many lines, the nearest words first.
        """
        rows = [
            (
                ', '.join(each.words),
                self.names[each.label],
                f'{each.score:.3f}',
                f'{each.margin:.3f}',
                f'{each.probability:.3f}',
            )
            for each in self.words[:most]
        ]
        return text_table(('words', 'class', 'score', 'margin', 'probability'), rows, left=2)

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """Plain values for JSON.

        Args:
            most: how many words, the nearest first; None for all.
        """
        moved = None if self.moved_from is None else self.names[self.moved_from]
        return {
            'row': self.row,
            'column': self.column,
            'class': self.name,
            'label': self.label,
            'reason': self.reason,
            'margin': None if self.ahead != self.ahead else self.ahead,
            'rejected_by': list(self.rejected_by),
            'absent': [self.names[label] for label in self.absent],
            'moved_from': moved,
            'later_steps_move_pixels': self.moves,
            'words': [
                {
                    'words': list(each.words),
                    'class': self.names[each.label],
                    'origin': each.origin,
                    'score': each.score,
                    'margin': each.margin,
                    'probability': each.probability,
                }
                for each in self.words[:most]
            ],
        }


def nearest_words(
    scores: Tensor,
    label: int,
    place: tuple[int, int],
    vocabulary: Vocabulary,
    classifier: Classifier,
    rule: DecisionRule,
    moves: bool = False,
) -> NearestWords:
    """What competed for one pixel.

    Args:
        scores: (P,), of the rows of the classifier in this pixel.
        label: what the pixel has in the result.
        place: (row, column) of the pixel.
        vocabulary: what the rows were made from.
        classifier: the rows.
        rule: decides scores, of this image.
        moves: whether the model moves pixels after its scores were decided.
    """
    rows = scores.float()[None]
    shares = rule.probabilities(rows)[0]
    verdict = int(rule.judge(rows).labels[0])
    labels = classifier.class_index.tolist()
    words = _words_of_rows(vocabulary, classifier)
    most = float(rows.max())
    order = torch.argsort(rows[0], descending=True, stable=True).tolist()
    listed = tuple(
        WordScore(
            words[row],
            labels[row],
            float(rows[0, row]),
            most - float(rows[0, row]),
            float(shares[labels[row]]),
            classifier.origin[row],
        )
        for row in order
    )
    names = tuple(vocabulary.names)
    failed = [name for name, is_out in rule.rejected_by(rows).items() if bool(is_out)]
    told = tuple(rule.rejection.describe_test(name) for name in failed)
    absent = [] if rule.allowed is None else (~rule.allowed).nonzero().flatten().tolist()
    best = int(rule.best_classes(rows)[0])
    reason = _reason(label, verdict, best, names, shares, told)
    if absent:
        gone = ', '.join(repr(names[each]) for each in absent[:4]) + ', ...' * (len(absent) > 4)
        reason += f' The rejection rule has taken {gone} out of this image.'
    top = shares.topk(2).values.tolist() if len(shares) > 1 else []
    return NearestWords(
        *place,
        label,
        names,
        tuple(vocabulary.palette),
        vocabulary.background_index,
        listed,
        reason,
        top[0] - top[1] if top else float('nan'),
        told,
        tuple(absent),
        None if label == verdict else verdict,
        moves,
    )


def _words_of_rows(vocabulary: Vocabulary, classifier: Classifier) -> list[tuple[str, ...]]:
    """What each row stands for: a word where a class has a row a word, else all of its words."""
    words: list[tuple[str, ...]] = []
    pairs = list(zip(classifier.class_index.tolist(), classifier.origin, strict=True))
    for label in sorted({label for label, _ in pairs}):
        item = vocabulary[label]
        origins = [origin for own, origin in pairs if own == label]
        # Sentences may stand without the words.
        prompts = () if set(origins) == {'description'} else item.prompts
        said = (*prompts, *item.descriptions) or (item.name,)
        if len(origins) == len(prompts):  # sentences are in the row of each word
            words += [(word, *item.descriptions) for word in prompts]
        elif len(origins) == len(said):
            words += [(word,) for word in said]
        else:
            words += [said] * len(origins)
    return words


def _reason(
    label: int,
    verdict: int,
    best: int,
    names: tuple[str, ...],
    shares: Tensor,
    failed: tuple[str, ...],
) -> str:
    probability = f'a probability of {float(shares[best]):.2f}'
    if label != verdict:
        return (
            f'{names[best]!r} scores most here, with {probability}, and what the model does with '
            f'regions or masks afterwards gives the pixel to {names[label]!r}.'
        )
    if verdict != best and failed:
        return (
            f'{names[best]!r} scores most, with {probability}, and the rejection rule sends it '
            f'away ({"; ".join(failed)}): the pixel is {names[label]!r}.'
        )
    return f'{names[label]!r} scores most, with {probability}.'
