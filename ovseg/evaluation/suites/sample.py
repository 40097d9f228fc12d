"""What a suite is given, and what it has to do: images come encoded, once for all its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ovseg.errors import UserError
from ovseg.evaluation.suites.support_pool import SupportPool
from ovseg.evaluation.suites.word_file import SuiteWords
from ovseg.exemplars import RULES, Bank, Rule
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.text.experts import refuse_experts
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Vocabulary

# Those that are not fitted to each image anew.
QUICK_RULES = tuple(name for name in RULES if name != 'rns')


@dataclass(frozen=True, eq=False)
class EncodedSample:
    """An image of a data set, encoded, with its labels.

    Attributes:
        encoding: of the model.
        labels: (H, W) int64, on the CPU.
        is_early: whether it belongs to the half of the images that limits are fitted on.
        seconds: that the encoder took for it.
        index: number of the image in its data set.
    """

    encoding: Any
    labels: Tensor
    is_early: bool
    seconds: float
    index: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]


@dataclass(frozen=True)
class SuiteSettings:
    """How a suite asks.

    Attributes:
        words: further words for the classes; None without a file.
        leave_out: how many classes are left out of the vocabulary at a time.
        rounds: how many draws of what is left to chance; None for the suite's own number.
        seed: of the draws.
        ignore_index: label of pixels that do not count.
        pool: images that examples are drawn from; None where the config names none.
        tested: the images of the test, for suites that choose among them.
        shots: numbers of images a class that examples are drawn from; None for the suite's own.
        rules: by which examples count.
        folds: ``'pascal-5i'`` or ``'coco-20i'``; None for all classes in one fold.
        episodes: how many a fold and draw.
        other_words: what else there is in a small world beside the words that are asked for; None
            for models of photographs.
    """

    words: SuiteWords | None = None
    leave_out: int = 3
    rounds: int | None = None
    seed: int = 0
    ignore_index: int = 255
    pool: SupportPool | None = None
    tested: SupportPool | None = None
    shots: Sequence[int] | None = None
    rules: Sequence[str] = QUICK_RULES
    folds: str | None = None
    episodes: int = 1000
    other_words: Callable[[Collection[str]], Sequence[str]] | None = None


class Suite(ABC):
    """Questions to a model about images that come one by one.

    Args:
        model: is asked.
        vocabulary: the data set's words as the model's config has them.
        settings: how.

    Raises:
        UserError: words that the suite needs and has not.
    """

    name: str
    default_rounds: ClassVar[int] = 3

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        self.model, self.vocabulary, self.settings = model, vocabulary, settings

    @abstractmethod
    def add(self, sample: EncodedSample) -> None:
        """Asks about one image."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """What was found, over all processes, as plain values."""

    def halve(self) -> None:  # noqa: B027  # most suites fit nothing
        """Called between the two halves of the images."""

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """The model's classifier of some words."""
        with plain_torch():
            return self.model.build_classifier(vocabulary).to(self.model.device)

    @property
    def rounds(self) -> int:
        """How many draws of what is left to chance."""
        given = self.settings.rounds
        return self.default_rounds if given is None else given

    def need_words(self, what: str) -> SuiteWords:
        """The file of words.

        Args:
            what: the suite needs.

        Raises:
            UserError: there is none.
        """
        if self.settings.words is None:
            raise UserError(
                f'the suite {self.name} needs {what} of the data set, which ovseg has for Scenes '
                'only: give a file of them by --suite-words FILE.json (see '
                'docs/evaluation_suites.md)'
            )
        return self.settings.words


class ExampleSuite(Suite):
    """A suite that shows examples beside the words.

    Raises:
        UserError: a model that takes none or has some already, no images to draw them from.
    """

    default_shots: ClassVar[tuple[int, ...]] = (1, 5, 20)

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        kind = type(model).__name__
        if model.taught is None:
            raise UserError(f'the suite {self.name} shows examples, and {kind} takes none')
        if model.taught.bank is not None and model.taught.rule.uses:
            raise UserError(
                f'the suite {self.name} draws its own examples: leave out model.text.bank'
            )
        if settings.pool is None:
            raise UserError(
                f'the suite {self.name} draws examples from other images than those of the test: '
                "set support in the config, what differs there in the test's data set, such as "
                "support = dict(ann_file='train.txt')"
            )
        self.pool = settings.pool
        self.rules = [Rule(name) for name in settings.rules]
        self.shots = self.default_shots if settings.shots is None else tuple(settings.shots)

    def applied(
        self, rule: Rule, words: Classifier, vocabulary: Vocabulary, bank: Bank
    ) -> Classifier:
        """The classifier of words and examples.

        Args:
            rule: by which examples count.
            words: the classifier of the words alone.
            vocabulary: the classes.
            bank: the examples, of a class of the vocabulary at least.
        """
        refuse_experts(words, 'a classifier of words and examples')
        with plain_torch():
            support = bank.support(words, vocabulary)
            assert support is not None  # the bank's names are the vocabulary's
            return rule(support).to(self.model.device)


def over_processes(counts: Tensor) -> Tensor:
    """The sum of counts over all processes of a run."""
    total = counts.clone()
    all_reduce(total)
    return total


def number(value: float) -> float | None:
    """A number as JSON holds it; None for NaN."""
    return None if value != value else float(value)


def mapped(labels: Tensor, table: Tensor) -> Tensor:
    """Labels of a vocabulary as those of the data set, on the CPU.

    Args:
        labels: of any shape.
        table: (classes of the vocabulary,) int64.
    """
    return table[labels.to(torch.int64).cpu()]
