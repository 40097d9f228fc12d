"""A test loop that asks a model a suite of questions instead of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner
from typing_extensions import override

from ovseg.errors import UserError, nearest
from ovseg.evaluation.protocol import EvaluationProtocol
from ovseg.evaluation.suites import (
    SUITES,
    EncodedSample,
    ExampleSuite,
    SuiteSettings,
    SuiteWords,
    SupportPool,
    write_report,
)
from ovseg.evaluation.suites.report import summary_lines
from ovseg.evaluation.suites.sample import QUICK_RULES
from ovseg.evaluation.suites.support_pool import encode_batch
from ovseg.registry import DATASETS, LOOPS
from ovseg.scenes.small_world import small_world
from ovseg.segmentors.base import Segmentor
from ovseg.torch_modes import evaluating, quick_torch


@LOOPS.register_module()
class SuiteLoop(BaseLoop):
    """Encodes each image once and has a suite of :mod:`ovseg.evaluation.suites` ask about it.

    Args:
        runner: mmengine's.
        dataloader: of the images.
        evaluator: of the config, for what looks at it before a test; a suite counts by itself.
        suite: its name.
        words: a file of further words; None for those that come with ovseg.
        images: how many images are looked at, from the first; None for all.
        leave_out: see :class:`~ovseg.evaluation.suites.SuiteSettings`.
        rounds: likewise.
        seed: likewise.
        support: config of the data set that examples are drawn from; ``'tested'`` for the images of
            the test, None for none.
        shots: see :class:`~ovseg.evaluation.suites.SuiteSettings`.
        rules: likewise.
        folds: likewise.
        episodes: likewise.

    Raises:
        UserError: an unknown suite, no segmentor of ovseg, words that are missing or do not fit,
            fewer than two images a process.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any = None,
        suite: str = 'words',
        words: str | None = None,
        images: int | None = None,
        leave_out: int = 3,
        rounds: int | None = None,
        seed: int = 0,
        support: dict[str, Any] | str | None = None,
        shots: Sequence[int] | None = None,
        rules: Sequence[str] = QUICK_RULES,
        folds: str | None = None,
        episodes: int = 1000,
    ) -> None:
        super().__init__(runner, dataloader)
        built = isinstance(evaluator, Evaluator)
        self.evaluator = evaluator if built else runner.build_evaluator(evaluator or [])
        if suite not in SUITES:
            raise UserError(
                f'there is no suite {suite!r}: use one of {", ".join(SUITES)}.'
                + nearest(suite, SUITES)
            )
        self.suite = suite
        dataset = self.dataloader.dataset
        whole = len(dataset)
        if images is not None and not 2 <= images <= whole:
            raise UserError(
                f'a suite can look at 2 to {whole} images of this data set, not {images}'
            )
        self.images = whole if images is None else images
        if self._mine < 2:
            raise UserError('a suite needs two images a process at least')
        classes = dataset.metainfo['classes']
        kind = type(dataset).__name__
        found = SuiteWords.read(words, classes) if words else SuiteWords.of_dataset(kind, classes)
        ignored = dataset.metainfo.get('ignore_index', 255)
        tested = SupportPool(dataset, ignored, range(self.images))
        pool = tested if support == 'tested' else None
        if isinstance(support, Mapping) and issubclass(SUITES[suite], ExampleSuite):
            pool = SupportPool(DATASETS.build(dict(support)), ignored)
        self.settings = SuiteSettings(
            found,
            leave_out,
            rounds,
            seed,
            ignored,
            pool,
            tested,
            shots,
            rules,
            folds,
            episodes,
            self._other_words(),
        )

    def _other_words(self) -> Callable[[Collection[str]], Sequence[str]] | None:
        """What else there is in the small world that the model is confined to."""
        config = self.runner.cfg
        world = small_world(config, config.get('load_from'), '')
        return None if world is None else world.other_words

    @property
    def _mine(self) -> int:
        """How many of the images this process looks at: it gets every `world`-th one."""
        return len(range(get_rank(), self.images, get_world_size()))

    @override
    def run(self) -> dict[str, Any]:
        """Asks; writes the report into the run's folder, and returns the findings."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        model = self.runner.segmentor
        if not isinstance(model, Segmentor):
            raise UserError(f'a suite asks segmentors of ovseg, and {type(model).__name__} is none')
        dataset = self.dataloader.dataset
        count = len(dataset.metainfo['classes'])
        if model.vocabulary is None or len(model.vocabulary) != count:
            raise UserError(
                f'a suite needs a class for each of the {count} of the data set, the model has '
                f'{model.num_classes}'
            )
        with quick_torch(), evaluating(model):
            suite = SUITES[self.suite](model, model.vocabulary, self.settings)
            was_early = True
            for sample in self._samples(model):
                if was_early and not sample.is_early:
                    suite.halve()
                was_early = sample.is_early
                suite.add(sample)
            result = suite.result()
        protocol = EvaluationProtocol.describe(
            model, dataset, headline='mIoU_present', checkpoint=self.runner.cfg.get('load_from')
        )
        seen = torch.tensor(self._mine)
        all_reduce(seen)
        facts = {**protocol.to_dict(), 'images': int(seen), 'seed': self.settings.seed}
        if is_main_process():
            content = {'suite': self.suite, 'protocol': facts, 'result': result}
            paths = write_report(Path(self.runner.log_dir), content)
            print('\n'.join(summary_lines(self.suite, result)))
            print(f'written to {", ".join(map(str, paths))}')
        self.runner.call_hook('after_test_epoch', metrics={})
        self.runner.call_hook('after_test')
        return result

    def _samples(self, model: Segmentor) -> Iterator[EncodedSample]:
        """The images of this process, encoded one batch at a time."""
        half = self._mine // 2
        for index, sample in enumerate(islice(self._encoded(model), self._mine)):
            encoding, labels, seconds = sample
            number = get_rank() + index * get_world_size()
            yield EncodedSample(encoding, labels, index < half, seconds, number)

    def _encoded(self, model: Segmentor) -> Iterator[tuple[Any, torch.Tensor, float]]:
        for batch in self.dataloader:
            began = perf_counter()
            encoded = encode_batch(model, batch)
            seconds = (perf_counter() - began) / len(encoded)
            for encoding, labels in encoded:
                yield encoding, labels, seconds
