"""WordNet by nltk: further words for classes, and what a word is a kind of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ovseg.errors import UserError, notify
from ovseg.extras import of_extra
from ovseg.vocabulary.descriptions import ClassDescriptions, Descriptions
from ovseg.vocabulary.parsing import VocabularyClass, folded
from ovseg.vocabulary.vocabulary import Vocabulary

_MOST_SYNONYMS = 5


def noun_senses(phrase: str, advice: str) -> list[Any]:
    """Nltk's synsets of a phrase as a noun, the most usual first; none where WordNet lacks it.

    Args:
        phrase: of one or more words, in any number (``'cats'``).
        advice: what to do without WordNet, the end of a sentence.

    Raises:
        UserError: nltk or its corpus is missing.
    """
    with of_extra('nouns', 'WordNet is read by nltk'):
        from nltk.corpus import wordnet
    name = '_'.join(phrase.lower().replace('-', ' ').split())
    try:
        return wordnet.synsets(name, pos='n')
    except LookupError as error:
        raise UserError(
            f'the corpus of WordNet is missing: python -m nltk.downloader wordnet, or {advice}'
        ) from error


def hypernyms_of(phrase: str, count: int, advice: str) -> list[str]:
    """The first hypernyms of a phrase's first sense as a noun, each by its first lemma.

    Args:
        phrase: see :func:`noun_senses`.
        count: how many at most.
        advice: likewise.

    Raises:
        UserError: nltk or its corpus is missing.
    """
    senses = noun_senses(phrase, advice) if count else []
    found = senses[0].hypernyms()[:count] if senses else []
    return list(dict.fromkeys(_words_of(sense)[0] for sense in found))


def synonyms(vocabulary: Vocabulary, most: int = _MOST_SYNONYMS) -> Descriptions:
    """Further words of the classes: the other lemmas of the sense that a class's words share.

    Of the senses of a class's first word the one with most of its other words is taken, the most
    usual of equal ones. A word that is one of another class, or that two classes would get, is left
    out. What is added is told.

    Args:
        vocabulary: what is asked for; a class of background words gets none.
        most: words added to a class.

    Raises:
        UserError: nltk or its corpus is missing.
    """
    skipped = 1 if vocabulary.rejection.kind == 'class_zero' else 0
    classes = vocabulary.asked[skipped:]
    asked = {folded(word) for item in vocabulary.classes for word in (item.name, *item.prompts)}
    candidates = [_candidates(item, asked) for item in classes]
    owners = Counter(folded(word) for words in candidates for word in words)
    added = [[word for word in words if owners[folded(word)] == 1][:most] for words in candidates]
    found = [
        ClassDescriptions(item.name, synonyms=tuple(words))
        for item, words in zip(classes, added, strict=True)
    ]
    said = '; '.join(f'{each.name}: {", ".join(each.synonyms)}' for each in found if each.synonyms)
    notify(f'WordNet adds {said}.' if said else 'WordNet has no further words for these classes.')
    return Descriptions(tuple(found), 'WordNet')


def _candidates(item: VocabularyClass, asked: set[str]) -> list[str]:
    """Words of a class that are not asked for."""
    words = item.prompts or (item.name,)
    senses = noun_senses(words[0], 'leave the synonyms of WordNet out')
    if not senses:
        return []
    own = {folded(word) for word in words}
    best = max(senses, key=lambda sense: len(own & {folded(word) for word in _words_of(sense)}))
    unlike = {folded(word): word for word in _words_of(best)}
    return [word for key, word in unlike.items() if key not in asked]


def _words_of(sense: Any) -> Sequence[str]:
    return [name.replace('_', ' ') for name in sense.lemma_names()]
