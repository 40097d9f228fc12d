"""What ``ovseg label`` says, done: what is left of many images, and the summary of all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ovseg
from ovseg.apis.encoded_image import identity_of
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.stream import Failed
from ovseg.cli.label_folder import NAMES, LabelFolder
from ovseg.cli.label_saving import Done, Saving
from ovseg.cli.label_shares import FirstFailed, Share
from ovseg.cli.segment_files import (
    plan_of,
    prepare,
    report,
    segmenter_of,
    settings_of,
    tell_about,
)
from ovseg.cli.segment_summary import FolderSummary, Found, Result, failed_line, found_line
from ovseg.cli.set_files import ImageSet, check_set_files
from ovseg.cli.set_records import FoundRecords, SetRecords
from ovseg.consoles import is_quiet, quiet
from ovseg.errors import (
    EXIT_NOTHING_DONE,
    EXIT_OK,
    EXIT_SOME_FAILED,
    print_beside_progress,
    printable_line,
)
from ovseg.files import CannotWrite, remove_dead_temporaries
from ovseg.images.finding import FoundImage, FoundImages
from ovseg.images.output_plan import PlannedOutput
from ovseg.progress import with_progress
from ovseg.vocabulary import Vocabulary

# Failed images that the summary names; the others stand in failed.jsonl.
_MOST_TOLD = 20


def label_images(
    args: argparse.Namespace,
    saving: Saving,
    found: FoundImages,
    vocabulary: Vocabulary | None,
) -> int:
    """Label what is left of the images, and print what was found in all.

    Args:
        args: see ``ovseg.cli.label.build_parser``.
        saving: which files are written.
        found: the images.
        vocabulary: what to look for; None for a model with classes of its own.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done; the folder holds other labels, or another run is at work.
    """
    plan = plan_of(found.images, args.out_dir, args.task, saving.planned_kinds, NAMES)
    tell_about(found, plan)
    check_set_files(args.out_dir, saving.set_kinds, found.images)
    share = Share.of_environment()
    args.device, args.workers = share.device(args.device), share.workers(args.workers)
    folder = LabelFolder(args.out_dir, share.rank, share.count)
    run = _Run(args, saving, found.images, plan, folder, SetRecords(args.out_dir, share.rank))
    with ExitStack() as stack:
        try:
            if share.is_first:
                stack.enter_context(folder.held())
            segmenter = segmenter_of(args, batch_size=args.batch_size)
            classes = prepare(segmenter, vocabulary, args)
            if share.is_first:
                folder.agree(manifest_of(segmenter, vocabulary, args, saving))
                for place in {output.folder for output in plan}:
                    remove_dead_temporaries(place)
            left = share.told(run.find_what_is_done, plan)
        except FirstFailed:
            print(f'note: {share} stops, because the first one could not begin', file=sys.stderr)
            return EXIT_NOTHING_DONE
        except Exception:
            share.tell_failure()
            raise
        if not share.is_first:
            stack.enter_context(folder.held())
        run.label(segmenter, vocabulary, left, share)
        share.let_go()
        if not run.summary.untried and not folder.finish():
            return EXIT_OK  # another process is at work yet, and will tell what all found
        if not share.is_alone and not run.summary.untried:
            run.sum_up()
        missing = run.write_set_files(classes)
    code = report(run.summary, segmenter, args)
    if missing is None:
        return code
    print(f'error: {missing}', file=sys.stderr)
    return EXIT_SOME_FAILED


def manifest_of(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    saving: Saving,
) -> dict[str, Any]:
    """All that labels depend on, as plain values by what people call them.

    Args:
        segmenter: that is asked.
        vocabulary: of the command line; None for the model's own.
        args: of the command line.
        saving: which files are written.
    """
    classes = vocabulary or segmenter.model.vocabulary
    return {
        # Those of two folders would replace each other.
        'images': os.path.abspath(os.path.expanduser(args.image)),
        'model': segmenter.name,
        'checkpoint': identity_of(segmenter.model),
        'words': [[item.name, *item.prompts, *item.descriptions] for item in classes or ()],
        'rejection': asdict(classes.rejection) if classes else None,
        'background': args.background,
        'threshold': args.threshold,
        'template set': args.template_set,
        'task': args.task,
        'stuff': args.stuff,
        'precision': segmenter.precision,
        'kinds of files': list(saving.kinds),
        'files of the set': list(saving.set_kinds),
        'ovseg version': ovseg.__version__,
    }


@dataclass
class _Run:
    """A run over the images of a folder, and what is known of those that are done."""

    args: argparse.Namespace
    saving: Saving
    images: Sequence[FoundImage]
    plan: Sequence[PlannedOutput]
    folder: LabelFolder
    records: SetRecords

    def __post_init__(self) -> None:
        self.summary = FolderSummary(self.args.task, most_told=_MOST_TOLD)
        self._done = bytearray(len(self.plan))  # by the place of an image in the plan

    def find_what_is_done(self) -> bytearray:
        """Sums up the images that are done, if all that is wanted of them is there.

        Returns:
            Of each image in the plan 1 if it is done, 0 if not.
        """
        positions = self._positions()
        records = self.records.found(positions) if self.saving.set_kinds else None
        for line in self.folder.done():
            position = positions.get(line['image'])
            if position is None or self._done[position]:
                continue
            if records is None or records.has(position):
                self._done[position] = True
                self.summary.tried += 1
                self.summary.add(Found(line['classes'], line.get('segments', {})))
        if self.summary.images and not is_quiet():
            print(
                f'note: {self.summary.images} of {len(self.plan)} images are done already',
                file=sys.stderr,
            )
        return self._done

    def sum_up(self) -> None:
        """Sums up what all processes did."""
        self.__post_init__()
        with quiet():
            self.find_what_is_done()
        for line in self.folder.failed():
            self.summary.tried += 1
            self.summary.fail(printable_line(f'{line["image"]}: {line["error"]}'))

    def label(
        self,
        segmenter: OpenVocabSegmenter,
        vocabulary: Vocabulary | None,
        left: Sequence[int],
        share: Share,
    ) -> None:
        """Labels what is left; a broken image does not end the run, a full disk does."""
        images = self._answers(segmenter, vocabulary, left)
        if share.is_first:  # several would draw over each other
            images = with_progress(
                images,
                len(left),
                'image',
                '' if share.is_alone else str(share),
                note=lambda: f'{self.summary.failed} failed' if self.summary.failed else '',
            )
        with self.records.opened(bool(self.saving.set_kinds)):
            for number, (position, answer) in enumerate(images, start=1):
                self._take(position, answer)
                error = answer.error if isinstance(answer, Failed) else None
                if isinstance(error, CannotWrite) and error.ends_run:
                    self.summary.untried = len(left) - number
                    break

    def _answers(
        self,
        segmenter: OpenVocabSegmenter,
        vocabulary: Vocabulary | None,
        left: Sequence[int],
    ) -> Iterator[tuple[int, Done | Failed]]:
        under_way: dict[str, PlannedOutput] = {}

        def taken() -> Iterator[Path]:
            for position in left:
                output = self.plan[position]
                under_way[str(output.image)] = output
                yield output.image

        def write(result: Result) -> Done:
            return self.saving.save(result, under_way[result.source])

        stream = segmenter.stream if self.args.task == 'semantic' else segmenter.stream_segments
        settings = settings_of(self.args, self.saving.kinds)
        answers: Iterator[Done | Failed] = stream(
            taken(), vocabulary, **settings, then=write, workers=self.args.workers
        )
        for position, answer in zip(left, answers, strict=True):
            del under_way[str(self.plan[position].image)]
            yield position, answer

    def _take(self, position: int, answer: Done | Failed) -> None:
        """Writes down what became of an image."""
        name = str(self.plan[position].image)
        self.summary.tried += 1
        if isinstance(answer, Failed):
            self.summary.fail(str(answer))
            line = failed_line(name, answer.reason)
            self.folder.add_failed(line)
        else:
            self.summary.add(answer.found)
            self._done[position] = True
            line = found_line(name, answer.found, answer.paths)
            # From the folder itself, which may be moved before the run goes on.
            below = {
                kind: Path(os.path.relpath(path, self.folder.path))
                for kind, path in answer.paths.items()
            }
            key = _key(self.plan[position])
            if self.saving.set_kinds:  # before the image is said to be done
                self.records.add(key, answer.record)
            self.folder.add_found(found_line(key, answer.found, below))
        if self.args.json:
            print_beside_progress(line, sys.stdout)

    def write_set_files(self, classes: Vocabulary) -> CannotWrite | None:
        """Writes one file for all images, unless some were not tried; returns what prevents it."""
        if not self.saving.set_kinds or self.summary.untried:
            return None
        images = ImageSet(
            self.folder.path, self.images, self.plan, classes, self.args.stuff, self._found()
        )
        try:
            images.write(self.saving.set_kinds)
        except CannotWrite as error:  # all images are done nevertheless
            return error
        return None

    def _found(self) -> FoundRecords:
        records = self.records.found(self._positions())
        for position, done in enumerate(self._done):
            if not done:
                records.drop(position)
        return records

    def _positions(self) -> dict[str, int]:
        return {_key(output): position for position, output in enumerate(self.plan)}


def _key(output: PlannedOutput) -> str:
    """What an image is called in ``found.jsonl``, from wherever the command is run."""
    return os.path.abspath(output.image)
