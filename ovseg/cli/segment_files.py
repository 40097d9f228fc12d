"""What the command line says, done to an image or to many."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from ovseg.apis.kinds import LONGEST_END, LONGEST_SEGMENT_END, ends_of, segment_ends_of
from ovseg.apis.results import SegmentationResult
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.segments_result import SegmentsResult
from ovseg.engine.file_check import check_image
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError
from ovseg.file_names import shown_path
from ovseg.files import CannotWrite, remove_dead_temporaries
from ovseg.images.finding import FoundImages
from ovseg.images.output_plan import PlannedOutput, plan_outputs
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.tables import text_table
from ovseg.visualization.legend import format_share
from ovseg.vocabulary import Vocabulary

Result: TypeAlias = SegmentationResult | SegmentsResult

NO_SEGMENT = 'no segment found: a smaller --threshold lets more masks compete'


@dataclass
class FolderSummary:
    """What was found over many images.

    Attributes:
        task: what was asked.
        images: how many images were segmented.
        seen_in: per class name, in how many of them it is.
        segments: per class name, how many segments it has in all.
        areas: per class name, the sum of its area shares.
        failures: one line for each image that could not be segmented.
        untried: how many images were left when the disk took no more.
    """

    task: str = 'semantic'
    images: int = 0
    seen_in: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    areas: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: list[str] = field(default_factory=list)
    untried: int = 0

    def add(self, result: Result) -> None:
        """Count one image."""
        self.images += 1
        shares: defaultdict[str, float] = defaultdict(float)
        if isinstance(result, SegmentationResult):
            shares.update((area.name, area.share) for area in result.areas())
        else:
            for segment in result.segments:
                name = result.names[segment.label]
                shares[name] += segment.area / result.ids.size
                self.segments[name] += 1
        self.seen_in.update(shares.keys())
        for name, share in shares.items():
            self.areas[name] += share

    def table(self) -> str:
        """Per class: in how many images, how many segments, mean share of all images' area."""
        counts_segments = self.task != 'semantic'
        if counts_segments and not self.segments:
            return NO_SEGMENT
        header = ('class', 'images', *(['segments'] * counts_segments), 'mean area')
        rows = [
            (
                name,
                str(self.seen_in[name]),
                *([str(self.segments[name])] * counts_segments),
                format_share(total / self.images),
            )
            for name, total in sorted(self.areas.items(), key=lambda item: -item[1])
        ]
        return text_table(header, rows)


def segment_images(
    args: argparse.Namespace,
    kinds: Sequence[str],
    found: FoundImages,
    vocabulary: Vocabulary | None,
) -> int:
    """Segment what the command line names, and print what was found.

    Args:
        args: see ``ovseg.cli.segment.parse_args``.
        kinds: the kinds of files to save.
        found: the images.
        vocabulary: what to look for; None for a model with classes of its own.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done.
    """
    plan = plan_of(found, args.out_dir, args.task, kinds)
    _tell_about(found, plan)
    if len(plan) == 1:
        check_image(str(plan[0].image))  # of many, those that cannot be read are counted
    segmenter = OpenVocabSegmenter(
        args.model,
        args.checkpoint,
        device=args.device,
        templates=args.template_set,
        on=args.on,
        precision=args.precision,
    )
    ask = asking(segmenter, vocabulary, args, kinds)
    for folder in {output.folder for output in plan}:
        remove_dead_temporaries(folder)
    if len(plan) == 1:
        return _segment_one(ask, segmenter, plan[0], kinds)
    return report(_segment_all(ask, args.task, plan, kinds), segmenter, args.out_dir, len(plan))


def plan_of(
    found: FoundImages, out_dir: str, task: str, kinds: Sequence[str]
) -> list[PlannedOutput]:
    """Where the files of each image go.

    Args:
        found: the images.
        out_dir: the folder that mirrors theirs.
        task: what is asked.
        kinds: the kinds of files.
    """
    if task == 'semantic':
        return plan_outputs(found.images, out_dir, ends_of(kinds), LONGEST_END)
    return plan_outputs(found.images, out_dir, segment_ends_of(kinds), LONGEST_SEGMENT_END)


def _tell_about(found: FoundImages, plan: Sequence[PlannedOutput]) -> None:
    """Say what a person would not expect: files left out, other names."""
    notes = []
    if found.left_out:
        notes.append(
            f'{len(found.left_out)} pictures that ovseg made itself are left out, the first is '
            f'{shown_path(found.left_out[0])}'
        )
    renamed = [output for output in plan if not output.has_own_name]
    if renamed:
        first = renamed[0]
        notes.append(
            f'the files of {len(renamed)} of {len(plan)} images have longer or shortened names, '
            f'because others would be in their way or disks do not take them; those of '
            f'{shown_path(first.image)} begin with {shown_path(first.stem)}'
        )
    for note in notes:
        print(f'note: {note}', file=sys.stderr)


def _segment_one(
    ask: Callable[[Path], Result],
    segmenter: OpenVocabSegmenter,
    output: PlannedOutput,
    kinds: Sequence[str],
) -> int:
    result = ask(output.image)
    paths = result.save(output.folder, output.stem, kinds)
    found_nothing = isinstance(result, SegmentsResult) and not result.segments
    table = NO_SEGMENT if found_nothing else result.table()
    print(f'{shown_path(output.image)}: {segmenter.name} on {segmenter.device}\n\n{table}\n')
    width = max(8, *(len(kind) + 1 for kind in paths))
    print('\n'.join(f'{kind:{width}s}{shown_path(path)}' for kind, path in paths.items()))
    return EXIT_OK


def _segment_all(
    ask: Callable[[Path], Result], task: str, plan: Sequence[PlannedOutput], kinds: Sequence[str]
) -> FolderSummary:
    summary = FolderSummary(task)
    for tried, output in enumerate(tqdm(plan, unit='image'), start=1):
        try:
            result = ask(output.image)
            result.save(output.folder, output.stem, kinds)
        except Exception as error:  # One bad file must not end a long run.
            reason = str(error) if isinstance(error, (UserError, OSError)) else repr(error)
            summary.failures.append(shown_path(f'{output.image}: {reason}'))
            if isinstance(error, CannotWrite) and error.ends_run:
                summary.untried = len(plan) - tried
                break
        else:
            summary.add(result)
    return summary


def asking(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    kinds: Sequence[str],
) -> Callable[[Path], Result]:
    """The question to each image; what cannot be asked at all is said at once."""
    if args.task == 'semantic':
        segmenter.prepare(vocabulary, args.background, args.threshold)
        return lambda path: segmenter.segment(
            path,
            vocabulary,
            background=args.background,
            threshold=args.threshold,
            scores='scores' in kinds,
        )
    segmenter.prepare(vocabulary, args.background, task=args.task, stuff=args.stuff)
    threshold = {} if args.threshold is None else {'score_threshold': args.threshold}
    SegmentSettings(**threshold)
    return lambda path: segmenter.segments(
        path,
        vocabulary,
        task=args.task,
        stuff=args.stuff,
        background=args.background,
        **threshold,
    )


def report(summary: FolderSummary, segmenter: OpenVocabSegmenter, out_dir: str, asked: int) -> int:
    """Print what was found in many images, and what failed; returns the exit code."""
    failed = ''.join(f'\n  {line}' for line in summary.failures)
    if summary.untried:
        failed += f'\n  {summary.untried} more were not tried, because no file can be written'
    if not summary.images:
        raise UserError(f'None of the {asked} images could be segmented:{failed}')
    print(
        f'{summary.images} of {asked} images: {segmenter.name} on {segmenter.device}\n\n'
        f'{summary.table()}\n\nresults in {shown_path(Path(out_dir))}/'
    )
    missing = len(summary.failures) + summary.untried
    if not missing:
        return EXIT_OK
    print(f'error: {missing} of {asked} images failed:{failed}', file=sys.stderr)
    return EXIT_SOME_FAILED
