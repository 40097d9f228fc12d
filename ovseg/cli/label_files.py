"""What ``ovseg label`` says, done: what is left of many images, and the summary of all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ovseg.apis.stream import Failed
from ovseg.cli.label_engine import Engine, OwnProcess, Question
from ovseg.cli.label_folder import NAMES, LabelFolder
from ovseg.cli.label_saving import Done, Saving
from ovseg.cli.label_shares import FirstFailed, Share
from ovseg.cli.segment_files import plan_of, report, tell_about
from ovseg.cli.segment_summary import FolderSummary, Found, failed_line, found_line
from ovseg.cli.set_files import ImageSet, check_set_files
from ovseg.cli.set_records import FoundRecords, SetRecords
from ovseg.consoles import is_quiet
from ovseg.errors import (
    EXIT_NOTHING_DONE,
    EXIT_OK,
    EXIT_SOME_FAILED,
    UserError,
    print_beside_progress,
    printable_line,
)
from ovseg.files import CannotWrite, remove_dead_temporaries
from ovseg.images.compact_plan import CompactPlan
from ovseg.images.finding import FoundImages
from ovseg.progress import with_progress
from ovseg.vocabulary import Vocabulary

# Failed images that the summary names; the others stand in failed.jsonl.
_MOST_TOLD = 20


def planned(found: FoundImages, args: argparse.Namespace, saving: Saving) -> CompactPlan:
    """Where the files of all images go.

    Args:
        found: the images.
        args: see ``ovseg.cli.label.build_parser``.
        saving: which files are written.
    """
    plan = plan_of(found.images, args.out_dir, args.task, saving.planned_kinds, NAMES)
    tell_about(found, plan)
    return CompactPlan(found.images, plan)


def label_images(question: Question, plan: CompactPlan) -> int:
    """Label what is left of the images, and print what was found in all.

    Args:
        question: that is asked.
        plan: where the files of all images go.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done; the folder holds other labels, or another run is at work.
    """
    args, saving = question.args, question.saving
    check_set_files(args.out_dir, saving.set_kinds, plan)
    share = Share.of_environment()
    new_engine = _engine(args.engine, share)
    args.device, args.workers = share.device(args.device), share.workers(args.workers)
    folder = LabelFolder(args.out_dir, share.rank, share.count)
    run = _Run(question, plan, folder, SetRecords(args.out_dir, share.rank))
    with ExitStack() as stack:
        try:
            if share.is_first:
                stack.enter_context(folder.held())
            engine = new_engine(question, stack)
            description = engine.describe()
            if share.is_first:
                folder.agree(description.manifest)
                for place in plan.folders:
                    remove_dead_temporaries(place)
            left = share.told(run.find_what_is_done, plan, question.parquet is not None)
        except FirstFailed:
            print(f'note: {share} stops, because the first one could not begin', file=sys.stderr)
            return EXIT_NOTHING_DONE
        except Exception:
            share.tell_failure()
            raise
        if not share.is_first:
            stack.enter_context(folder.held())
        run.label(engine, left, share)
        share.let_go()
        if not run.summary.untried and not folder.finish():
            return EXIT_OK  # another process is at work yet, and will tell what all found
        if not share.is_alone and not run.summary.untried:
            run.sum_up()
        missing = run.write_set_files(description.classes)
    code = report(run.summary, description.asked, args)
    if missing is None:
        return code
    print(f'error: {missing}', file=sys.stderr)
    return EXIT_SOME_FAILED


def _engine(name: str, share: Share) -> Callable[[Question, ExitStack], Engine]:
    """What makes the engine that the command line names."""
    if name == 'own':
        return lambda question, stack: OwnProcess(question)
    if not share.is_alone:
        raise UserError(
            f'--engine {name} starts processes itself: start the command once, without torchrun.'
        )
    from ovseg.cli.label_ray import OnRay

    return lambda question, stack: stack.enter_context(OnRay(question))


@dataclass
class _Run:
    """A run over the images of a folder, and what is known of those that are done."""

    question: Question
    plan: CompactPlan
    folder: LabelFolder
    records: SetRecords

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.summary = FolderSummary(self.question.args.task, most_told=_MOST_TOLD)
        self._done = bytearray(len(self.plan))  # by the place of an image in the plan

    def find_what_is_done(self) -> bytearray:
        """Sums up the images that are done, if all that is wanted of them is there.

        Returns:
            Of each image in the plan 1 if it is done, 0 if not.
        """
        self._sum_up_done()
        if self.summary.images and not is_quiet():
            print(
                f'note: {self.summary.images} of {len(self.plan)} images are done already',
                file=sys.stderr,
            )
        return self._done

    def sum_up(self) -> None:
        """Sums up what all processes did."""
        self._begin()
        self._sum_up_done()
        for line in self.folder.failed():
            self.summary.tried += 1
            self.summary.fail(printable_line(f'{line["image"]}: {line["error"]}'))

    def _sum_up_done(self) -> None:
        positions = self._positions()
        records = self.records.found(positions) if self.question.saving.set_kinds else None
        for line in self.folder.done():
            position = positions.get(line['image'])
            if position is None or self._done[position]:
                continue
            if records is None or records.has(position):
                self._done[position] = True
                self.summary.tried += 1
                self.summary.add(Found(line['classes'], line.get('segments', {})))

    def label(self, engine: Engine, left: Sequence[int], share: Share) -> None:
        """Labels what is left; a broken image does not end the run, a full disk does."""
        answers: Iterator[tuple[int, Done | Failed]] = engine.answers(left, self.plan)
        if share.is_first:  # several would draw over each other
            answers = with_progress(
                answers,
                len(left),
                'image',
                '' if share.is_alone else str(share),
                note=lambda: f'{self.summary.failed} failed' if self.summary.failed else '',
            )
        with self.records.opened(bool(self.question.saving.set_kinds)):
            for number, (position, answer) in enumerate(answers, start=1):
                self._take(position, answer)
                error = answer.error if isinstance(answer, Failed) else None
                if isinstance(error, CannotWrite) and error.ends_run:
                    self.summary.untried = len(left) - number
                    break

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
            key = self.question.key(self.plan[position])
            if self.question.saving.set_kinds:  # before the image is said to be done
                self.records.add(key, answer.record)
            self.folder.add_found(found_line(key, answer.found, below))
        if self.question.args.json:
            print_beside_progress(line, sys.stdout)

    def write_set_files(self, classes: Vocabulary) -> CannotWrite | None:
        """Writes one file for all images, unless some were not tried; returns what prevents it."""
        kinds = self.question.saving.set_kinds
        if not kinds or self.summary.untried:
            return None
        stuff, records = self.question.args.stuff, self._found()
        images = ImageSet(self.folder.path, self.plan, classes, stuff, records)
        try:
            images.write(kinds)
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
        return {self.question.key(output): place for place, output in enumerate(self.plan)}
