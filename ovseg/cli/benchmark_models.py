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
from ovseg.compiled import compile_encoders
from ovseg.config_files import read_config
from ovseg.devices import choose_device
from ovseg.files import written_whole
from ovseg.images import Images, resize_rule_of, to_batch
from ovseg.images.reading import load_rgb
from ovseg.images.resize import ResizeRule
from ovseg.precision import precision_told, set_precision
from ovseg.precision_choice import choose_precision
from ovseg.scenes.world import COLORS, OBJECTS
from ovseg.scores.encoding import ImageEncoding
from ovseg.stages import stage
from ovseg.tables import text_table
from ovseg.tensor_cores import set_tf32
from ovseg.text import Classifier
from ovseg.zoo import check_weights, resolve_model

MEGABYTE = 2**20


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
        compile_seconds: of the first image, which compiled the encoders; None: nothing was.
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
    compile_seconds: float | None = None
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
                f'{self.name} on {self.device} in {self.precision}: image {size_text(self.image)}, '
                f'input {size_text(self.input)}, {self.classes} classes, batch {self.batch_size}',
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
                *(
                    [f'compiled: the first image took {self.compile_seconds:.1f} s']
                    if self.compile_seconds is not None
                    else []
                ),
            ]
        )


class Loaded:
    """One config's model, ready to be measured.

    Args:
        config: model name or config path.
        precision: of ``ovseg.precision_choice.PRECISIONS``.
        args: the command line.

    Attributes:
        name: of the config.
        device: where the model is.
        model: the segmentor.
        resize: the config's rule.
        takes_words: whether it can be asked for any number of classes; training fixed others'.
    """

    def __init__(self, config: str, precision: str, args: argparse.Namespace) -> None:
        self.device = choose_device(args.device)
        choose_precision(precision, self.device)  # what cannot be is said at once
        set_tf32(args.tf32, self.device)
        self.name, place = resolve_model(config, args.on)
        check_weights(place.path, args.pretrained, '--pretrained FILE')
        settings = read_config(place.path, place.on)
        # The words' real time is wanted, and random weights should leave no traces in the cache.
        # A trained model has a classifier of its own, and asks its teacher for other words.
        is_trained = settings.model.get('teacher') is not None
        frozen = settings.model.teacher if is_trained else settings.model
        # What has a text tower, CLIP's or SAM 3's.
        self.takes_words = 'clip' in frozen or 'sam3' in frozen
        if self.takes_words:
            frozen.setdefault('text', {})['cache_dir'] = None
        if self.takes_words and not is_trained:
            settings.model.vocabulary = None
        self.model = build_model(settings, args.pretrained, args.templates).to(self.device).eval()
        set_precision(self.model, precision)
        self.resize = resize_rule_of(settings)

    @property
    def megabytes(self) -> float:
        """Of the weights, without a teacher's, which predicting does not need."""
        values = (
            value.numel() * value.element_size()
            for key, value in self.model.named_parameters()
            if not key.startswith('teacher.')
        )
        return sum(values) / MEGABYTE

    def set_classes(self, count: int) -> float:
        """Has the model asked for so many words, if it takes any, and returns the seconds.

        Args:
            count: of words.
        """
        start = time.perf_counter()
        if self.takes_words:
            self.model.set_vocabulary(class_names(count))
        return time.perf_counter() - start

    def batch(self, images: Sequence[np.ndarray], rule: ResizeRule) -> torch.Tensor:
        """Images as the encoder takes them.

        Args:
            images: (H, W, 3) uint8 RGB, of one size.
            rule: how they are resized.
        """
        return to_batch(images, rule, self.model.data_preprocessor)

    def encode(self, inputs: torch.Tensor, images: Sequence[np.ndarray]) -> list[ImageEncoding]:
        """Runs the encoder, as a stage.

        Args:
            inputs: of :meth:`batch`.
            images: it was made of.
        """
        with stage('encode'):
            return self.model.encode(Images(inputs, images))

    def label(
        self,
        encodings: Sequence[ImageEncoding],
        size: tuple[int, int],
        classifier: Classifier | None = None,
    ) -> None:
        """Labels encoded images.

        Args:
            encodings: of :meth:`encode`.
            size: (height, width) of the labels.
            classifier: of other words than the present ones.
        """
        for encoding in encodings:
            self.model.segment(self.model.unasked(encoding), size, classifier)


class Subject:
    """One config under measurement.

    Args:
        config: model name or config path.
        precision: of ``ovseg.precision_choice.PRECISIONS``.
        args: the command line.
        image: (H, W, 3) uint8 RGB.
        compiled: whether its encoders are.
    """

    def __init__(
        self,
        config: str,
        precision: str,
        args: argparse.Namespace,
        image: np.ndarray,
        compiled: bool = False,
    ) -> None:
        self._loaded = loaded = Loaded(config, precision, args)
        self._images = [image] * args.batch_size
        self._clock = StageClock(loaded.device)
        text_seconds = loaded.set_classes(args.classes[0])
        self.figures = Figures(
            name=loaded.name,
            image=spatial(image),
            input=loaded.resize.size_for(spatial(image)),
            classes=loaded.model.num_classes,
            batch_size=args.batch_size,
            device=device_name(loaded.device),
            precision=precision_told(loaded.model),
            text_seconds=text_seconds,
            model_megabytes=loaded.megabytes,
        )
        # The first run also fills caches and sets up what is lazy, so its time does not count; and
        # sampling memory costs time, so memory is measured here alone.
        with torch.inference_mode():
            inputs = self._inputs()
            if compiled:  # and here it compiles
                compile_encoders(loaded.model)
                start = time.perf_counter()
                loaded.encode(inputs, self._images)
                self.figures.compile_seconds = time.perf_counter() - start
            with MemoryPeak(loaded.device) as encoder:
                encodings = loaded.encode(inputs, self._images)
            with MemoryPeak(loaded.device) as labels:
                loaded.label(encodings, self.figures.image)
        self.figures.encoder_megabytes = encoder.bytes / MEGABYTE
        self.figures.labels_megabytes = labels.bytes / MEGABYTE

    @torch.inference_mode()
    def measure(self) -> None:
        """Segment the batch once and note the seconds."""
        clock = self._clock
        clock.reset()
        with clock.listening(), clock.measure('whole'):
            with clock.measure('preprocess'):
                inputs = self._inputs()
            self._loaded.label(self._loaded.encode(inputs, self._images), self.figures.image)
        figures = self.figures
        stages = {'preprocess': clock.seconds('preprocess'), **clock.stages()}
        # A stage that does next to nothing may be told in one run and left out in another.
        for name in {**figures.stages, **stages}:
            runs = figures.stages.setdefault(name, [0.0] * len(figures.seconds))
            runs.append(stages.get(name, 0.0))
        figures.seconds.append(clock.seconds('whole'))

    def _inputs(self) -> torch.Tensor:
        return self._loaded.batch(self._images, self._loaded.resize)


def compare(first: Figures, second: Figures) -> str:
    """How much faster the second is, run by run, since they ran in turn."""
    ratios = [a / b for a, b in zip(first.seconds, second.seconds, strict=True)]
    names = [one.name for one in (first, second)]
    if second.compile_seconds is not None:
        names[1] += ', compiled'
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
        Subject(config, precision, args, image, compiled)
        for config in args.config
        for precision in args.precision
        for compiled in ((False, True) if args.compile else (False,))
    ]
    for _ in range(args.repeat):
        for subject in subjects:
            subject.measure()
    figures = [subject.figures for subject in subjects]
    report = '\n\n'.join(each.report() for each in figures)
    if len(figures) == 2:
        report += '\n\n' + compare(*figures)
    publish({'machine': machine(), 'results': [each.to_dict() for each in figures]}, report, args)


def publish(content: dict[str, Any], report: str, args: argparse.Namespace) -> None:
    """Prints a report, or the figures for programs; these also go into a file that is asked for.

    Args:
        content: the figures as plain values.
        report: the same for people.
        args: ``json`` of the command line.
    """
    text = json.dumps(content, indent=2) + '\n'
    if args.json == '-':
        print(text, end='')
        return
    print(report)
    if args.json:
        with written_whole(args.json) as temporary:
            temporary.write_text(text)


def class_names(count: int) -> list[str]:
    """So many different names; the tiny models know the words, so none is another to them.

    Args:
        count: of names.

    Example:
        >>> class_names(82)[0], class_names(82)[81]
        ('red star', 'red star and red heart')
    """
    things = [f'{color} {kind}' for color in COLORS for kind in OBJECTS]
    names = []
    for number in range(count):
        parts = []
        while number >= 0:
            number, index = divmod(number, len(things))
            parts.append(things[index])
            number -= 1
        names.append(' and '.join(reversed(parts)))
    return names


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
        'resident_megabytes': resident_bytes() / MEGABYTE,
    }


def device_name(device: torch.device) -> str:
    """A device in words.

    Args:
        device: where something was measured.
    """
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device} ({torch.get_num_threads()} threads)'


def spatial(image: np.ndarray) -> tuple[int, int]:
    """(height, width) of an image (H, W, 3)."""
    return (image.shape[0], image.shape[1])


def size_text(size: tuple[int, int]) -> str:
    """A size in words: ``'480 x 640'``."""
    return f'{size[0]} x {size[1]}'
