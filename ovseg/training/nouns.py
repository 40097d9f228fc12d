"""The nouns of a caption: by nltk's tagger, or by a list of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from ovseg.errors import UserError

# Universal tag of nouns, common and proper, in singular and plural, of the Penn treebank.
_NOUN_TAG = 'NN'
_TAGGER_DATA = 'averaged_perceptron_tagger_eng'


class NounSource(Protocol):
    """``caption -> nouns``, each once, in the order of the caption."""

    def __call__(self, caption: str) -> list[str]:
        """Finds the nouns.

        Args:
            caption: a sentence.
        """
        ...


class TaggedNouns:
    """Every word that nltk's part-of-speech tagger takes for a noun, in lower case.

    Raises:
        UserError: nltk or the data of its tagger are missing.

    Source: OVSeg (arXiv 2210.04150) section 3.2 extracts nouns with nltk; which tokenizer, tagger
    and tags is not published.
    """

    def __init__(self) -> None:
        try:
            from nltk.tag import pos_tag
            from nltk.tokenize import TreebankWordTokenizer
        except ImportError as error:
            raise UserError(
                "nouns by nltk need it: pip install 'ovseg[nouns]', or give a list with --words"
            ) from error
        # A caption is a sentence, so nltk's sentence splitter and its data are not needed.
        self._tokenize: Callable[[str], list[str]] = TreebankWordTokenizer().tokenize
        self._tag: Callable[[list[str]], list[tuple[str, str]]] = pos_tag
        try:
            self._tag(['dog'])
        except LookupError as error:
            raise UserError(
                f'nltk lacks the data of its tagger: python -m nltk.downloader {_TAGGER_DATA}, or '
                'give a list with --words'
            ) from error

    def __call__(self, caption: str) -> list[str]:
        """See :class:`NounSource`."""
        tagged = self._tag(self._tokenize(caption))
        nouns = (
            word.lower() for word, tag in tagged if tag.startswith(_NOUN_TAG) and _has_letter(word)
        )
        return list(dict.fromkeys(nouns))


class ListedNouns:
    """The words and phrases of a list that a caption has, longer phrases first.

    ``brick wall`` is found as such and not as ``wall`` again.

    Args:
        words: what to look for; case does not matter, the list's spelling is returned.

    Raises:
        UserError: an empty list.

    Example:
        >>> ListedNouns(['wall', 'star', 'brick wall'])('A star on a brick wall, and a wall.')
        ['star', 'brick wall', 'wall']
    """

    def __init__(self, words: Sequence[str]) -> None:
        if not words:
            raise UserError('--words names no noun; write at least one')
        self._spelling = {_folded(word): word for word in words}
        longest_first = sorted(self._spelling, key=len, reverse=True)
        alternatives = '|'.join(re.escape(word) for word in longest_first)
        self._pattern = re.compile(rf'(?<!\w)(?:{alternatives})(?!\w)')

    def __call__(self, caption: str) -> list[str]:
        """See :class:`NounSource`."""
        found = self._pattern.findall(_folded(caption))
        return list(dict.fromkeys(self._spelling[word] for word in found))


def _folded(text: str) -> str:
    return ' '.join(text.split()).casefold()


def _has_letter(word: str) -> bool:
    return any(letter.isalpha() for letter in word)
