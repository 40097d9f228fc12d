"""What a suite is given, and what it has to do: images come encoded, once for all its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ovseg.errors import UserError
from ovseg.evaluation.suites.word_file import SuiteWords
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class EncodedSample:
    """An image of a data set, encoded, with its labels.

    Attributes:
        encoding: of the model.
        labels: (H, W) int64, on the CPU.
        is_early: whether it belongs to the half of the images that limits are fitted on.
        seconds: that the encoder took for it.
    """

    encoding: Any
    labels: Tensor
    is_early: bool
    seconds: float

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
        rounds: how many draws of what is left to chance.
        seed: of the draws.
        ignore_index: label of pixels that do not count.
    """

    words: SuiteWords | None = None
    leave_out: int = 3
    rounds: int = 3
    seed: int = 0
    ignore_index: int = 255


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
