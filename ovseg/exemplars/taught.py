"""What a model was taught: a bank, and the rule by which it counts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovseg.errors import notify
from ovseg.exemplars.bank import Bank, EncoderIdentity
from ovseg.exemplars.bank_file import read_bank
from ovseg.exemplars.rules import DEFAULT_RULE, Rule
from ovseg.locks import Lock
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

_SHOWN = 4


class Taught:
    """The examples of a model, which may change at any time.

    Args:
        identity: of the model's encoder, asked when a bank is to be used.
        rule: see :class:`Rule`.
        bank: a file, which is read when words are asked for first; None for no examples yet.
    """

    def __init__(
        self,
        identity: Callable[[], EncoderIdentity],
        rule: str | Mapping[str, Any] = DEFAULT_RULE,
        bank: str | Path | None = None,
    ) -> None:
        self._identity = identity
        self._rule = Rule(rule)
        self._file = bank
        self._bank: Bank | None = None
        self._changes = 0
        self._lent: Hashable = None
        self._lock = Lock()

    @property
    def mark(self) -> Hashable:
        """Another value after each change: classifiers of before are out of date."""
        return self._changes if self._lent is None else self._lent

    @property
    def rule(self) -> Rule:
        """By which examples count; may be set to a name or a table, too."""
        return self._rule

    @rule.setter
    def rule(self, value: str | Mapping[str, Any] | Rule) -> None:
        self._rule = value if isinstance(value, Rule) else Rule(value)
        self._changes += 1

    @property
    def bank(self) -> Bank | None:
        """The examples, None without any.

        Raises:
            UserError: the file that was named is no bank of this encoder.
            FileNotFoundError: it is not there.
        """
        with self._lock:
            if self._bank is None and self._file is not None:
                found = read_bank(self._file)
                found.check_encoder(self._identity(), f'the bank {self._file}')
                self._bank = found
            return self._bank

    @bank.setter
    def bank(self, value: Bank | None) -> None:
        if value is not None:
            value.check_encoder(self._identity())
        with self._lock:
            self._bank = value if value is not None and len(value) else None
            self._file = None
            self._changes += 1

    @contextmanager
    def lent(self, mark: Hashable) -> Iterator[None]:
        """Puts back all that is taught meanwhile; the mark of before is valid again, too.

        Args:
            mark: of what is taught meanwhile: equal ones are taken for the same examples.
        """
        before = self._bank, self._file, self._changes, self._lent
        self._lent = (self._changes, mark)
        try:
            yield
        finally:
            with self._lock:
                self._bank, self._file, self._changes, self._lent = before

    def or_empty(self, dim: int) -> Bank:
        """The examples, or a bank for them.

        Args:
            dim: length of the features.
        """
        bank = self.bank
        return Bank.empty(self._identity(), dim) if bank is None else bank

    def applied(self, words: Classifier, vocabulary: Vocabulary) -> Classifier:
        """The classifier of words and of what was taught of them; the words' own without any.

        Args:
            words: the classifier of the words.
            vocabulary: the classes.

        Raises:
            UserError: see :attr:`bank`.
        """
        if not self._rule.uses:
            return words
        bank = self.bank
        if bank is None:
            return words
        support = bank.support(words, vocabulary)
        if support is None:
            known = ', '.join(map(repr, bank.names[:_SHOWN])) + ', ...' * (len(bank.names) > _SHOWN)
            notify(
                f'Examples change nothing here: they are of {known}, and none of these is asked '
                'for; a class finds its examples by its name or one of its words.'
            )
            return words
        return self._rule(support)

    def protocol(self) -> dict[str, Any]:
        """What examples contribute to a number's protocol; nothing where there are none."""
        if not self._rule.uses or (self._bank is None and self._file is None):
            return {}
        # The file is read with the first words, and asks for what makes features: not here.
        bank = self._bank
        said = f'of {self._file}' if bank is None else f'{len(bank)} of {len(bank.names)} classes'
        return {'examples': said, 'rule': str(self._rule)}
