"""One class alone: a softmax over it is 1 everywhere, so something has to stand beside it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from ovseg.errors import UserError, notify
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import folded
from ovseg.vocabulary.protocols import protocol_words
from ovseg.vocabulary.rejection import BACKGROUND

# What may have been meant to separate classes, within one that has no ``,``.
_OTHER_SEPARATORS = re.compile(r'\s*[|/+&\\]\s*|\s+[.:\u00b7\u2022-]\s+')


def beside_one_class(vocabulary: Vocabulary, others: Collection[str] | None) -> Vocabulary:
    """The vocabulary; where it is one class without anything beside it, with a background.

    What was added, and how to choose it, is said. A stated rule that rejects nothing is obeyed.

    Args:
        vocabulary: as asked for.
        others: words for the background; None for a model that takes no words beside its own.

    Raises:
        UserError: the one class is the background itself.
    """
    rule = vocabulary.rejection
    obeyed = rule.kind == 'none' and vocabulary.has_own_rule
    if len(vocabulary.asked) > 1 or rule.words or obeyed:
        return vocabulary
    (asked,) = vocabulary.asked
    if folded(asked.name) == BACKGROUND or rule.kind == 'class_zero':
        raise UserError(
            f'the only class, {asked.name!r}, is the background: name what to look for as well'
        )
    if others is None:
        if len(vocabulary) == 1:
            notify(
                f'{asked.name!r} is the only class and wins every pixel with a probability of 1: '
                'name more classes; a trained model takes no words for a background.'
            )
        return vocabulary
    notify(
        f'One class alone, {asked.name!r}, would win every pixel with a probability of 1: a '
        f'background is added, of the words {", ".join(others)}. Choose others with --background '
        f'(background= in Python).{_separator_hint((*asked.prompts,))}'
    )
    return vocabulary.with_rejection(replace(rule, kind='background', words=tuple(others)))


def usual_background(prompts: Collection[str]) -> list[str]:
    """Words for what is around things in photographs, without those that are asked for.

    They are SCLIP's for the background of PASCAL VOC.

    Args:
        prompts: what is asked for.

    Example:
        >>> usual_background(['sky', 'tree'])[:3]
        ['wall', 'wood', 'grass']
    """
    _, prompts_of_voc, _ = protocol_words('voc21', 'sclip')
    asked = {_singular(word) for prompt in prompts for word in folded(prompt).split()}
    return [word for word in prompts_of_voc[0] if _singular(word) not in asked]


def _singular(word: str) -> str:
    return word.removesuffix('s')


def _separator_hint(prompts: tuple[str, ...]) -> str:
    parts = prompts if len(prompts) > 1 else _OTHER_SEPARATORS.split(' '.join(prompts).strip(' .'))
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return ''
    shown = '; '.join(parts[:4]) + '; ...' * (len(parts) > 4)
    return f' If these are {len(parts)} classes, ";" separates them: "{shown}".'
