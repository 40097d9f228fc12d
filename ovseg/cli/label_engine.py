"""What labels images: a segmenter in this process, or in others that are told the same."""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import ovseg
from ovseg.apis.encoded_image import identity_of
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.stream import Failed
from ovseg.cli.exemplar_arguments import said_of_examples
from ovseg.cli.label_saving import Done, Saving
from ovseg.cli.segment_files import prepare, segmenter_of, settings_of
from ovseg.cli.segment_summary import Result
from ovseg.cli.word_arguments import text_settings
from ovseg.images.compact_plan import CompactPlan
from ovseg.images.output_plan import PlannedOutput
from ovseg.images.parquet_images import ParquetImages
from ovseg.images.reading import ImageSource
from ovseg.input_files import with_content
from ovseg.precision import precision_told
from ovseg.vocabulary import Rejection, Vocabulary


class Asked(NamedTuple):
    """An image that is to be labelled.

    Attributes:
        position: its place in the order of all images.
        image: what is read.
        output: where its files go.
    """

    position: int
    image: ImageSource
    output: PlannedOutput


@dataclass(frozen=True)
class Description:
    """What labels images, for people and for the folder of the labels.

    Attributes:
        asked: the model, and where it runs.
        classes: as results have them.
        manifest: all that labels depend on, as plain values by what people call them.
    """

    asked: str
    classes: Vocabulary
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked of all images; it can be sent to other processes.

    Attributes:
        args: see ``ovseg.cli.label.build_parser``.
        saving: which files are written.
        vocabulary: what to look for; None for a model with classes of its own.
        parquet: where images lie that are no files.
    """

    args: argparse.Namespace
    saving: Saving
    vocabulary: Vocabulary | None
    parquet: ParquetImages | None = None

    def segmenter(self) -> OpenVocabSegmenter:
        """A new one, as the command line names it."""
        return segmenter_of(self.args, batch_size=self.args.batch_size)

    def described(self, segmenter: OpenVocabSegmenter) -> Description:
        """What labels images.

        Args:
            segmenter: of :meth:`segmenter`.

        Raises:
            UserError: what it cannot be asked.
        """
        args = self.args
        result_classes = prepare(segmenter, self.vocabulary, args)
        classes = self.vocabulary or segmenter.model.vocabulary
        rule = Rejection.build(args.rejection) or (classes.rejection if classes else None)
        manifest = {
            # Those of two folders would replace each other.
            'images': os.path.abspath(os.path.expanduser(args.image)),
            'columns': args.columns if self.parquet else None,
            'model': segmenter.name,
            'checkpoint': identity_of(segmenter.model),
            'words': [[item.name, *item.prompts, *item.descriptions] for item in classes or ()],
            'rejection': rule.to_dict() if rule else None,
            'background': args.background,
            'threshold': args.threshold,
            'template set': with_content(args.template_set),
            'text settings': {key: with_content(v) for key, v in text_settings(args).items()},
            'contrast': with_content(args.contrast),
            **({'budget': args.budget} if getattr(args, 'budget', None) else {}),
            'task': args.task,
            'stuff': args.stuff,
            'precision': precision_told(segmenter.model),
            'kinds of files': list(self.saving.kinds),
            'files of the set': list(self.saving.set_kinds),
            **said_of_examples(segmenter),
            'ovseg version': ovseg.__version__,
        }
        return Description(f'{segmenter.name} on {segmenter.device}', result_classes, manifest)

    def key(self, output: PlannedOutput) -> str:
        """What an image is called in ``found.jsonl``, from wherever the command is run.

        Args:
            output: where its files go.
        """
        return str(output.image) if self.parquet else os.path.abspath(output.image)

    def images(self, positions: Sequence[int], outputs: Iterable[PlannedOutput]) -> Iterator[Asked]:
        """Images as they are asked about, read when their turn comes.

        Args:
            positions: which, ascending.
            outputs: where the files of each go.
        """
        if self.parquet is None:
            for position, output in zip(positions, outputs, strict=True):
                yield Asked(position, output.image, output)
            return
        outputs = list(outputs)
        names = [str(output.image) for output in outputs]
        images = self.parquet.read(positions, names)
        for position, image, output in zip(positions, images, outputs, strict=True):
            yield Asked(position, image, output)

    def answers(
        self, segmenter: OpenVocabSegmenter, images: Iterable[Asked]
    ) -> Iterator[tuple[int, Done | Failed]]:
        """What each image gave, once its files are written, in the order of the images.

        Args:
            segmenter: of :meth:`segmenter`.
            images: of :meth:`images`.
        """
        under_way: deque[tuple[int, str]] = deque()
        outputs: dict[str, PlannedOutput] = {}

        def taken() -> Iterator[ImageSource]:
            for position, image, output in images:
                name = str(output.image)
                under_way.append((position, name))
                outputs[name] = output
                yield image

        def write(result: Result) -> Done:
            return self.saving.save(result, outputs[result.source])

        semantic = self.args.task == 'semantic'
        stream = segmenter.stream if semantic else segmenter.stream_segments
        settings = settings_of(self.args, self.saving.kinds)
        answers: Iterator[Done | Failed] = stream(
            taken(), self.vocabulary, **settings, then=write, workers=self.args.workers
        )
        for answer in answers:
            position, name = under_way.popleft()
            del outputs[name]
            yield position, answer


class Engine(Protocol):
    """What labels images."""

    def describe(self) -> Description:
        """What it is.

        Raises:
            UserError: what it cannot be asked.
        """

    def answers(
        self, positions: Sequence[int], plan: CompactPlan
    ) -> Iterator[tuple[int, Done | Failed]]:
        """What some images gave, in whatever order.

        Args:
            positions: which, ascending.
            plan: of all images.
        """


class OwnProcess:
    """An engine that is one segmenter in this process.

    Args:
        question: that is asked.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._segmenter = question.segmenter()

    def describe(self) -> Description:
        """See :class:`Engine`."""
        return self._question.described(self._segmenter)

    def answers(
        self, positions: Sequence[int], plan: CompactPlan
    ) -> Iterator[tuple[int, Done | Failed]]:
        """See :class:`Engine`; the order is that of the positions."""
        outputs = (plan[position] for position in positions)
        images = self._question.images(positions, outputs)
        return self._question.answers(self._segmenter, images)
