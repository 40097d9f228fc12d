"""Masks of what you name, in an image or a folder of images.

Examples::

    python demo/image_demo.py photo.jpg "cat, kitten; sofa; wall"
    python demo/image_demo.py photos/ words.txt --model maskclip-vit-b16 --out-dir masks
    python demo/image_demo.py "photos/**/*.jpg" "dog; grass" --background "sky, wall" --save coco
    python demo/image_demo.py photos/ --model my_trained.py --checkpoint iter_8000.pth
    python demo/image_demo.py demo/scene.png "sky; grass; heart; ball" --task panoptic \
        --stuff "sky; grass" --model ovseg-tiny
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ovseg.apis.files import check_kinds
from ovseg.apis.results import KINDS_OF_FILES, SegmentationResult
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.segments_result import KINDS_OF_SEGMENT_FILES, SegmentsResult
from ovseg.apis.tables import text_table
from ovseg.apis.tasks import TASKS
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError, run_cli
from ovseg.files import check_folder
from ovseg.images.reading import find_images
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.visualization.legend import format_share
from ovseg.vocabulary import Vocabulary, build_vocabulary
from ovseg.zoo import DEFAULT_MODEL

KINDS = {'semantic': KINDS_OF_FILES, **KINDS_OF_SEGMENT_FILES}
SAVED = {
    'semantic': 'labels,overlay,json',
    'panoptic': 'overlay,panoptic',
    'instance': 'overlay,instances',
}
NO_SEGMENT = 'no segment found: a smaller --threshold lets more masks compete'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('image', metavar='IMAGE|FOLDER|GLOB', help='what to segment')
    parser.add_argument(
        'words',
        nargs='?',
        metavar='WORDS',
        help='what to look for: classes by ";", synonyms by ",", or a .txt or .json file; a '
        'trained model has classes of its own and needs none',
    )
    parser.add_argument('extra', nargs='*', help=argparse.SUPPRESS)
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help='model name or config path (default: %(default)s)'
    )
    parser.add_argument(
        '--on', metavar='DATA', help="take the model's published settings for this data set"
    )
    parser.add_argument(
        '--checkpoint',
        help="CLIP weights instead of the model's own, or the checkpoint of a trained model",
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)')
    parser.add_argument('--out-dir', default='outputs', help='default: %(default)s')
    parser.add_argument(
        '--template-set', help="a template set's name, or a file with one template a line"
    )
    parser.add_argument('--background', metavar='WORDS', help='words for "none of these"')
    parser.add_argument(
        '--task',
        choices=TASKS,
        default='semantic',
        help='a class for each pixel; or segments, with a model that proposes masks: things mask '
        'by mask, with stuff (panoptic) or without (instance) (default: %(default)s)',
    )
    parser.add_argument(
        '--stuff',
        metavar='WORDS',
        help='which of the words are no things that one can count: "sky; grass" (segments only)',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='P',
        help='pixels whose best class has a smaller probability become background; masks that '
        'score no more are no segments (default for segments: 0.8)',
    )
    parser.add_argument(
        '--save',
        metavar='KINDS',
        help='; '.join(
            f'{task}: any of {",".join(KINDS[task])} (default: {SAVED[task]})' for task in TASKS
        ),
    )
    # Words may stand behind options, too, although they may also be left out.
    return parser.parse_intermixed_args(argv)


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
    areas: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, result: SegmentationResult | SegmentsResult) -> None:
        """Count one image."""
        self.images += 1
        if isinstance(result, SegmentationResult):
            shares = Counter({area.name: area.share for area in result.areas()})
        else:
            shares = Counter()
            for segment in result.segments:
                name = result.names[segment.label]
                shares[name] += segment.area / result.ids.size
                self.segments[name] += 1
        self.seen_in.update(shares.keys())
        self.areas.update(shares)

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
            for name, total in self.areas.most_common()
        ]
        return text_table(header, rows)


def segment_images(args: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit code."""
    explain_other_forms(args)
    explain_other_tasks(args)
    kinds = chosen_kinds(SAVED[args.task] if args.save is None else args.save, args.task)
    check_folder(args.out_dir)
    images = find_images(args.image)
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


def chosen_kinds(save: str, task: str) -> list[str]:
    """The kinds of files that a task saves.

    Args:
        save: their names, separated by commas.
        task: what is asked.

    Raises:
        UserError: no kind, or one that this task does not have.
    """
    kinds = [kind.strip() for kind in save.split(',') if kind.strip()]
    if not kinds:
        raise UserError(f'--save names nothing to save: use {", ".join(KINDS[task])}.')
    for kind in kinds:
        others = [other for other in TASKS if kind in KINDS[other]]
        if others and task not in others:
            raise UserError(
                f'--save {kind} belongs to --task {" or ".join(others)}; --task {task} saves '
                f'{", ".join(KINDS[task])}.'
            )
    return check_kinds(kinds, KINDS[task])


def explain_other_tasks(args: argparse.Namespace) -> None:
    """Recognise options that the task does not read.

    Raises:
        UserError: what to write instead.
    """
    if args.stuff is not None and args.task == 'semantic':
        raise UserError(
            '--stuff means something to segments only: add --task panoptic or --task instance.'
        )


def explain_other_forms(args: argparse.Namespace) -> None:
    """Recognise mmsegmentation's arguments, and words that were not quoted.

    Raises:
        UserError: what to write instead.
    """
    if args.words is None:
        return
    if args.words.endswith(('.py', '.pth', '.pt')):
        checkpoint = f' --checkpoint {args.extra[0]}' if args.extra else ''
        raise UserError(
            "the form IMAGE CONFIG CHECKPOINT is mmsegmentation's, here words come second: write "
            f'image_demo.py {args.image} "cat; sofa" --model {args.words}{checkpoint}'
        )
    if args.extra:
        words = '; '.join([args.words, *args.extra])
        raise UserError(
            f'there are {len(args.extra)} arguments too many: put all words between quotes, such '
            f'as "{words}"'
        )


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0 (all done), 1 (some of many images failed) or 2 (nothing done)."""
    args = parse_args(argv)
    return run_cli(lambda: segment_images(args))


if __name__ == '__main__':
    sys.exit(main())
