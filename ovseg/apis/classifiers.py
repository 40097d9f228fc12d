"""The classifiers of the words that were asked for last, made once however many ask at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from ovseg.locks import Lock
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary


class KeptClassifiers:
    """Classifiers by vocabulary, for several threads.

    A thread that asks for a vocabulary that another one is at work on waits for its classifier;
    one that asks for a kept vocabulary waits for nobody. An error is told to the thread whose words
    it is about, and the next one tries anew.

    Args:
        make: the classifier of a vocabulary; slow.
        kept: how many are kept, those that were asked for last.
    """

    def __init__(self, make: Callable[[Vocabulary], Classifier], kept: int) -> None:
        self._make, self._kept = make, kept
        self._classifiers: OrderedDict[Any, Classifier] = OrderedDict()
        self._at_work: dict[Any, Lock] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._classifiers)

    def get(self, vocabulary: Vocabulary, weights: Hashable = None) -> Classifier:
        """The classifier of a vocabulary.

        Args:
            vocabulary: classes and rejection rule; what it is known by.
            weights: mark of the weights that make it, so that none of others is taken for it.

        Raises:
            UserError: words that cannot be encoded.
        """
        key = (tuple(vocabulary), vocabulary.rejection, weights)
        with self._lock:
            found = self._find(key)
            if found is not None:
                return found
            at_work = self._at_work.setdefault(key, Lock())
        with at_work:
            with self._lock:
                found = self._find(key)
            if found is not None:
                return found
            try:
                made = self._make(vocabulary)
                self._keep(key, made)
            finally:
                with self._lock:
                    if self._at_work.get(key) is at_work:
                        del self._at_work[key]
        return made

    def _find(self, key: Any) -> Classifier | None:
        if key in self._classifiers:
            self._classifiers.move_to_end(key)
        return self._classifiers.get(key)

    def _keep(self, key: Any, classifier: Classifier) -> None:
        with self._lock:
            self._classifiers[key] = classifier
            while len(self._classifiers) > self._kept:
                self._classifiers.popitem(last=False)
