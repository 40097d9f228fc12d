"""What the command line says, done to an image or to many."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ovseg.apis.results import SegmentationResult
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.segments_result import SegmentsResult
from ovseg.apis.tables import text_table
from ovseg.engine.file_check import check_image
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError
from ovseg.files import check_folder
from ovseg.images.reading import find_images
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.visualization.legend import format_share
from ovseg.vocabulary import Vocabulary, build_vocabulary

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
    """

    task: str = 'semantic'
    images: int = 0
    seen_in: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    areas: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: list[str] = field(default_factory=list)

    def add(self, result: SegmentationResult | SegmentsResult) -> None:
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


def segment_images(args: argparse.Namespace, kinds: Sequence[str]) -> int:
    """Segment what the command line names, and print what was found.

    Args:
        args: see ``ovseg.cli.segment.parse_args``.
        kinds: the kinds of files to save.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done.
    """
    check_folder(args.out_dir)
    images = find_images(args.image)
    if len(images) == 1:
        check_image(str(images[0]))  # of many, those that cannot be read are counted
    vocabulary = None if args.words is None else build_vocabulary(args.words)
    segmenter = OpenVocabSegmenter(
        args.model,
        args.checkpoint,
        device=args.device,
        templates=args.template_set,
        on=args.on,
    )
    ask = asking(segmenter, vocabulary, args, kinds)
    stems = unique_stems(images)
    if len(images) == 1:
        result = ask(images[0])
        paths = result.save(args.out_dir, stems[0], kinds)
        found_nothing = isinstance(result, SegmentsResult) and not result.segments
        table = NO_SEGMENT if found_nothing else result.table()
        print(f'{images[0]}: {segmenter.name} on {segmenter.device}\n\n{table}\n')
        width = max(8, *(len(kind) + 1 for kind in paths))
        print('\n'.join(f'{kind:{width}s}{path}' for kind, path in paths.items()))
        return EXIT_OK
    summary = FolderSummary(args.task)
    for path, stem in tqdm(list(zip(images, stems, strict=True)), unit='image'):
        try:
            result = ask(path)
            result.save(args.out_dir, stem, kinds)
        except Exception as error:  # One bad file must not end a long run.
            reason = str(error) if isinstance(error, (UserError, OSError)) else repr(error)
            summary.failures.append(f'{path}: {reason}')
        else:
            summary.add(result)
    return report(summary, segmenter, args.out_dir, len(images))


def asking(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    kinds: Sequence[str],
) -> Callable[[Path], SegmentationResult | SegmentsResult]:
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
    if not summary.images:
        raise UserError(f'None of the {asked} images could be segmented:{failed}')
    print(
        f'{summary.images} of {asked} images: {segmenter.name} on {segmenter.device}\n\n'
        f'{summary.table()}\n\nresults in {Path(out_dir)}/'
    )
    if not summary.failures:
        return EXIT_OK
    print(f'error: {len(summary.failures)} of {asked} images failed:{failed}', file=sys.stderr)
    return EXIT_SOME_FAILED


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """One name for the outputs of each image: a.jpg -> a, and a.png beside it -> a_png."""
    shared = Counter(path.stem for path in paths)
    stems: list[str] = []
    for path in paths:
        stem = path.stem if shared[path.stem] == 1 else path.name.replace('.', '_')
        number = 2
        candidate = stem
        while candidate in stems:
            candidate, number = f'{stem}_{number}', number + 1
        stems.append(candidate)
    return stems
