"""What a model costs as a function of the number of classes and of the image's size."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from ovseg.apis.profiling import MemoryPeak, StageClock
from ovseg.cli.benchmark_models import (
    MEGABYTE,
    Loaded,
    device_name,
    machine,
    publish,
    size_text,
    spatial,
    synthetic_image,
)
from ovseg.errors import UserError
from ovseg.images.reading import load_rgb
from ovseg.images.resize import ResizeRule
from ovseg.precision import precision_told
from ovseg.tables import text_table
from ovseg.text import Classifier

_Found = TypeVar('_Found')


@dataclass
class Cost:
    """What one size of image costs with one number of classes.

    Attributes:
        image: (height, width) of the image, and of its labels.
        input: (height, width) of what the encoder saw.
        classes: how many.
        encoder_seconds: of each run, for the whole batch, preprocessing included; the runs serve
            all numbers of classes, which the encoder does not know.
        encoder_megabytes: peak memory of the encoder, above the loaded model.
        labels_seconds: of each run, for the whole batch: all that follows.
        labels_megabytes: peak memory of all that follows, above the model and the features.
    """

    image: tuple[int, int]
    input: tuple[int, int]
    classes: int
    encoder_seconds: list[float]
    encoder_megabytes: float
    labels_seconds: list[float]
    labels_megabytes: float

    @property
    def seconds(self) -> float:
        """The medians of both parts, for the whole batch."""
        return statistics.median(self.encoder_seconds) + statistics.median(self.labels_seconds)

    def to_dict(self, batch_size: int) -> dict[str, Any]:
        """Plain values for JSON.

        Args:
            batch_size: images of a run.
        """
        return {**asdict(self), 'seconds_per_image': self.seconds / batch_size}

    def row(self, batch_size: int) -> Sequence[str]:
        """A line of the table.

        Args:
            batch_size: images of a run.
        """
        parts = (
            statistics.median(self.encoder_seconds),
            statistics.median(self.labels_seconds),
            self.seconds,
        )
        return (
            size_text(self.image),
            str(self.classes),
            *(f'{1000 * part / batch_size:.1f} ms' for part in parts),
            f'{batch_size / self.seconds:.2f}',
            f'{self.encoder_megabytes:.0f} MB',
            f'{self.labels_megabytes:.0f} MB',
        )


_HEADER = (
    'image',
    'classes',
    'encoder',
    'labels',
    'an image',
    'images/s',
    'memory: encoder',
    'labels',
)


def measure_costs(args: argparse.Namespace) -> None:
    """Measures each size with each number of classes, and prints one table.

    Args:
        args: see ``ovseg.cli.benchmark``.

    Raises:
        UserError: nothing could be measured, or a model that keeps its own classes was asked for
            several numbers of them.
    """
    loaded = Loaded(args.config[0], args.precision[0], args)
    if not loaded.takes_words and len(args.classes) > 1:
        raise UserError(
            f'{loaded.name} keeps the {loaded.model.num_classes} classes of its training: leave '
            '--classes out.'
        )
    text_seconds, classifiers = {}, {}
    for count in args.classes:
        seconds = loaded.set_classes(count)
        text_seconds[loaded.model.num_classes] = seconds
        classifiers[loaded.model.num_classes] = loaded.model.classifier
    costs = [
        cost
        for image, rule in _images(args, loaded.resize)
        for cost in _of_image(loaded, args, image, rule, classifiers)
    ]
    facts = {
        'name': loaded.name,
        'device': device_name(loaded.device),
        'precision': precision_told(loaded.model),
        'batch_size': args.batch_size,
        'model_megabytes': loaded.megabytes,
        'text_seconds': text_seconds,
    }
    rows = [cost.row(args.batch_size) for cost in costs]
    once = ', '.join(f'{seconds:.2f} s for {count}' for count, seconds in text_seconds.items())
    report = '\n'.join(
        [
            f'{loaded.name} on {facts["device"]} in {facts["precision"]}, batch '
            f'{args.batch_size}, median of {args.repeat} runs, memory above the loaded model '
            f'({loaded.megabytes:.0f} MB of weights)',
            '',
            text_table(_HEADER, rows),
            '',
            f'words, once: {once}',
        ]
    )
    results = [cost.to_dict(args.batch_size) for cost in costs]
    publish({'machine': machine(), **facts, 'results': results}, report, args)


def _images(args: argparse.Namespace, rule: ResizeRule) -> Iterator[tuple[np.ndarray, ResizeRule]]:
    """Each image, and how it is resized."""
    for size in args.sizes or ():
        yield synthetic_image(*size), ResizeRule(None)
    if not args.sizes:
        yield load_rgb(args.image) if args.image else synthetic_image(*args.image_size), rule


@torch.inference_mode()
def _of_image(
    loaded: Loaded,
    args: argparse.Namespace,
    image: np.ndarray,
    rule: ResizeRule,
    classifiers: Mapping[int, Classifier],
) -> Iterator[Cost]:
    """The costs of an image with each number of classes."""
    images, size = [image] * args.batch_size, spatial(image)
    encodings, encoder = _measured(
        loaded, args.repeat, lambda: loaded.encode(loaded.batch(images, rule), images)
    )
    for count, classifier in classifiers.items():
        label = partial(loaded.label, encodings, size, classifier)
        _, labels = _measured(loaded, args.repeat, label)
        yield Cost(size, rule.size_for(size), count, *encoder, *labels)


def _measured(
    loaded: Loaded, repeat: int, run: Callable[[], _Found]
) -> tuple[_Found, tuple[list[float], float]]:
    """What a step makes, the seconds of its runs, and its peak memory in megabytes."""
    # The first run sets up what is lazy and is watched by the sampler of memory: it does not count.
    with MemoryPeak(loaded.device) as peak:
        found = run()
    clock, seconds = StageClock(loaded.device), []
    for _ in range(repeat):
        clock.reset()
        with clock.measure('run'):
            run()
        seconds.append(clock.seconds('run'))
    return found, (seconds, peak.bytes / MEGABYTE)
