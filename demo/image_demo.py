"""Masks of what you name, in an image or a folder of images.

Examples::

    python demo/image_demo.py photo.jpg "cat, kitten; sofa; wall"
    python demo/image_demo.py photos/ words.txt --model maskclip-vit-b16 --out-dir masks
    python demo/image_demo.py "photos/**/*.jpg" "dog; grass" --background "sky, wall" --save coco
    python demo/image_demo.py photos/ --model my_trained.py --checkpoint iter_8000.pth
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ovseg.apis.images import find_images
from ovseg.apis.results import KINDS_OF_FILES, SegmentationResult, check_kinds
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.tables import text_table
from ovseg.apis.zoo import DEFAULT_MODEL
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError, run_cli
from ovseg.visualization import check_folder
from ovseg.visualization.legend import format_share
from ovseg.vocabulary import build_vocabulary


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
        '--threshold',
        type=float,
        metavar='P',
        help='pixels whose best class has a smaller probability become background',
    )
    parser.add_argument(
        '--save',
        default='labels,overlay,json',
        metavar='KINDS',
        help=f'any of {",".join(KINDS_OF_FILES)} (default: %(default)s)',
    )
    # Words may stand behind options, too, although they may also be left out.
    return parser.parse_intermixed_args(argv)


@dataclass
class FolderSummary:
    """What was found over many images.

    Attributes:
        images: how many images were segmented.
        seen_in: per class name, in how many of them it is.
        areas: per class name, the sum of its area shares.
        failures: one line for each image that could not be segmented.
    """

    images: int = 0
    seen_in: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, result: SegmentationResult) -> None:
        """Count one image."""
        self.images += 1
        for area in result.areas():
            self.seen_in[area.name] += 1
            self.areas[area.name] += area.share

    def table(self) -> str:
        """Per class: in how many images, and its mean share of the area of all images."""
        rows = [
            (name, str(self.seen_in[name]), format_share(total / self.images))
            for name, total in self.areas.most_common()
        ]
        return text_table(('class', 'images', 'mean area'), rows)


def segment_images(args: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit code."""
    explain_other_forms(args)
    kinds = check_kinds([kind.strip() for kind in args.save.split(',') if kind.strip()])
    if not kinds:
        raise UserError(f'--save names nothing to save: use {", ".join(KINDS_OF_FILES)}.')
    check_folder(args.out_dir)
    images = find_images(args.image)
    vocabulary = None if args.words is None else build_vocabulary(args.words)
    segmenter = OpenVocabSegmenter(
        args.model, args.checkpoint, device=args.device, templates=args.template_set
    )
    settings = {
        'background': args.background,
        'threshold': args.threshold,
        'scores': 'scores' in kinds,
    }
    segmenter.prepare(vocabulary, args.background, args.threshold)
    stems = unique_stems(images)
    if len(images) == 1:
        result = segmenter.segment(images[0], vocabulary, **settings)
        paths = result.save(args.out_dir, stems[0], kinds)
        print(f'{images[0]}: {segmenter.name} on {segmenter.device}\n\n{result.table()}\n')
        print('\n'.join(f'{kind:8s}{path}' for kind, path in paths.items()))
        return EXIT_OK
    summary = FolderSummary()
    for path, stem in tqdm(list(zip(images, stems, strict=True)), unit='image'):
        try:
            result = segmenter.segment(path, vocabulary, **settings)
            result.save(args.out_dir, stem, kinds)
        except Exception as error:  # One bad file must not end a long run.
            reason = str(error) if isinstance(error, (UserError, OSError)) else repr(error)
            summary.failures.append(f'{path}: {reason}')
        else:
            summary.add(result)
    return report(summary, segmenter, args.out_dir, len(images))


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
