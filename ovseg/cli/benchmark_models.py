"""Time and memory of models, stage by stage."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

import ovseg
from ovseg.apis.building import build_model
from ovseg.apis.profiling import MemoryPeak, StageClock, resident_bytes
from ovseg.config_files import read_config
from ovseg.devices import choose_device
from ovseg.files import written_whole
from ovseg.images import Images, resize_rule_of, to_batch
from ovseg.images.reading import load_rgb
from ovseg.precision import precision_of, set_precision
from ovseg.precision_choice import choose_precision
from ovseg.scores.encoding import ImageEncoding
from ovseg.stages import stage
from ovseg.tables import text_table
from ovseg.zoo import check_weights, resolve_model

_MEGABYTE = 2**20


@dataclass
class Figures:
    """What was measured of one config.

    Attributes:
        name: of the config.
        image: (height, width) of the image.
        input: (height, width) of what the encoder saw.
        classes: how many.
        batch_size: images at once.
        device: where.
        precision: of the products in the image encoders.
        text_seconds: for encoding all words, once.
        model_megabytes: of the weights, without a teacher's, which predicting does not need.
        seconds: of each run, for the whole batch.
        stages: seconds of each run by stage, for the whole batch.
        encoder_megabytes: peak memory of the encoder, above the loaded model.
        labels_megabytes: peak memory of all that follows, above the loaded model and the features.
    """

    name: str
    image: tuple[int, int]
    input: tuple[int, int]
    classes: int
    batch_size: int
    device: str
    precision: str
    text_seconds: float
    model_megabytes: float
    seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    encoder_megabytes: float = 0.0
    labels_megabytes: float = 0.0

    @property
    def seconds_per_image(self) -> float:
        """The median run."""
        return statistics.median(self.seconds) / self.batch_size

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            'seconds_per_image': self.seconds_per_image,
            'images_per_second': 1 / self.seconds_per_image,
        }

    def report(self) -> str:
        """The figures as text."""
        low, high = min(self.seconds) / self.batch_size, max(self.seconds) / self.batch_size
        medians = {stage: statistics.median(runs) for stage, runs in self.stages.items()}
        total = sum(medians.values())
        rows = [
            (stage, f'{1000 * seconds / self.batch_size:.1f} ms', f'{100 * seconds / total:.1f} %')
            for stage, seconds in medians.items()
        ]
        return '\n'.join(
            [
                f'{self.name} on {self.device} in {self.precision}: image {_size(self.image)}, '
                f'input {_size(self.input)}, {self.classes} classes, batch {self.batch_size}',
                f'{1 / self.seconds_per_image:.2f} images/s, {1000 * self.seconds_per_image:.1f} '
                f'ms an image (median of {len(self.seconds)} runs, '
                f'{1000 * low:.1f} to {1000 * high:.1f} ms)',
                '',
                text_table(('stage', 'an image', 'share'), rows),
                '',
                f'peak memory: encoder {self.encoder_megabytes:.0f} MB, then labels '
                f'{self.labels_megabytes:.0f} MB, above the loaded model '
                f'({self.model_megabytes:.0f} MB of weights)',
                f'words: {self.text_seconds:.2f} s, once',
            ]
        )


class Subject:
    """One config under measurement.

    Args:
        config: model name or config path.
        precision: of ``ovseg.precision_choice.PRECISIONS``.
        args: the command line.
        image: (H, W, 3) uint8 RGB.
    """

    def __init__(
        self, config: str, precision: str, args: argparse.Namespace, image: np.ndarray
    ) -> None:
        self._device = choose_device(args.device)
        choose_precision(precision, self._device)  # what cannot be is said at once
        name, place = resolve_model(config, args.on)
        check_weights(place.path, args.pretrained, '--pretrained FILE')
        settings = read_config(place.path, place.on)
        # The words' real time is wanted, and random weights should leave no traces in the cache.
        # A trained model has a classifier of its own, and asks its teacher for other words.
        is_trained = settings.model.get('teacher') is not None
        frozen = settings.model.teacher if is_trained else settings.model
        takes_words = 'clip' in frozen
        if takes_words:
            frozen.setdefault('text', {})['cache_dir'] = None
        if takes_words and not is_trained:
            settings.model.vocabulary = None
        self._model = build_model(settings, args.pretrained, args.templates).to(self._device).eval()
        set_precision(self._model, precision)
        self._images = [image] * args.batch_size
        self._resize = resize_rule_of(settings)
        self._clock = StageClock(self._device)
        start = time.perf_counter()
        if takes_words:
            self._model.set_vocabulary([f'object number {index}' for index in range(args.classes)])
        self.figures = Figures(
            name=name,
            image=tuple(image.shape[:2]),
            input=self._resize.size_for(image.shape[:2]),
            classes=len(self._model.vocabulary),
            batch_size=args.batch_size,
            device=_device_name(self._device),
            precision=precision_of(self._model),
            text_seconds=time.perf_counter() - start,
            model_megabytes=sum(
                value.numel() * value.element_size()
                for key, value in self._model.named_parameters()
                if not key.startswith('teacher.')
            )
            / _MEGABYTE,
        )
        # The first run also fills caches and sets up what is lazy, so its time does not count; and
        # sampling memory costs time, so memory is measured here alone.
        with torch.inference_mode():
            inputs = self._inputs()
            with MemoryPeak(self._device) as encoder:
                encodings = self._encode(inputs)
            with MemoryPeak(self._device) as labels:
                self._label(encodings)
        self.figures.encoder_megabytes = encoder.bytes / _MEGABYTE
        self.figures.labels_megabytes = labels.bytes / _MEGABYTE

    @torch.inference_mode()
    def measure(self) -> None:
        """Segment the batch once and note the seconds."""
        clock = self._clock
        clock.reset()
        with clock.listening(), clock.measure('whole'):
            with clock.measure('preprocess'):
                inputs = self._inputs()
            self._label(self._encode(inputs))
        figures = self.figures
        stages = {'preprocess': clock.seconds('preprocess'), **clock.stages()}
        # A stage that does next to nothing may be told in one run and left out in another.
        for name in {**figures.stages, **stages}:
            runs = figures.stages.setdefault(name, [0.0] * len(figures.seconds))
            runs.append(stages.get(name, 0.0))
        figures.seconds.append(clock.seconds('whole'))

    def _inputs(self) -> torch.Tensor:
        return to_batch(self._images, self._resize, self._model.data_preprocessor)

    def _encode(self, inputs: torch.Tensor) -> list[ImageEncoding]:
        with stage('encode'):
            return self._model.encode(Images(inputs, self._images))

    def _label(self, encodings: Sequence[ImageEncoding]) -> None:
        for encoding in encodings:
            self._model.segment(encoding, self._images[0].shape[:2])


def compare(first: Figures, second: Figures) -> str:
    """How much faster the second is, run by run, since they ran in turn."""
    ratios = [a / b for a, b in zip(first.seconds, second.seconds, strict=True)]
    names = [one.name for one in (first, second)]
    if first.precision != second.precision:
        names = [f'{one.name} in {one.precision}' for one in (first, second)]
    return (
        f'{names[0]} takes {statistics.median(ratios):.2f} times the time of {names[1]} '
        f'({min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} alternating runs)'
    )


def measure_models(args: argparse.Namespace) -> None:
    """Measure what the command line names, and print the figures.

    Args:
        args: see ``ovseg.cli.benchmark``.

    Raises:
        UserError: nothing could be measured.
    """
    image = load_rgb(args.image) if args.image else synthetic_image(*args.image_size)
    subjects = [
        Subject(config, precision, args, image)
        for config in args.config
        for precision in args.precision
    ]
    for _ in range(args.repeat):
        for subject in subjects:
            subject.measure()
    figures = [subject.figures for subject in subjects]
    content = {'machine': machine(), 'results': [each.to_dict() for each in figures]}
    text = json.dumps(content, indent=2) + '\n'
    if args.json == '-':
        print(text, end='')
        return
    print('\n\n'.join(each.report() for each in figures))
    if len(figures) == 2:
        print('\n' + compare(*figures))
    if args.json:
        with written_whole(args.json) as temporary:
            temporary.write_text(text)


def synthetic_image(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 noise: always the same."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        'processor': platform.processor() or platform.machine(),
        'threads': torch.get_num_threads(),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'ovseg': ovseg.__version__,
        'resident_megabytes': resident_bytes() / _MEGABYTE,
    }


def _device_name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device} ({torch.get_num_threads()} threads)'


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
