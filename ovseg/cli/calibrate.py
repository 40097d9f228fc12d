"""Fit the limit of a rejection rule to a few labelled images.

Examples::

    %(prog)s photos/ labels/ words.txt --rule margin --out rule.json
    %(prog)s photos/ labels/ "cat; sofa" --keep 0.9 --out rule.json --model maskclip-vit-b16
    %(prog)s photos/ labels/ "cat; sofa" --rule contrast_margin --contrast auto --out rule.json
    %(prog)s scenes 40 "sky; grass; star; ball" --out rule.json

A label map is a PNG with the name of its image: 0, 1, 2, ... for the classes in the order of the
words, the next number for "none of these", 255 where nobody knows. "scenes 40" draws 40 scenes
instead, whose materials and objects that are not asked for are "none of these".

The file is what --rejection of the other commands takes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from ovseg.cli.asking_arguments import add_model_arguments, checked_words
from ovseg.cli.entry import main_of
from ovseg.cli.parsers import check_device, new_parser
from ovseg.errors import EXIT_OK, UserError, printable_line
from ovseg.exact_digits import exact
from ovseg.files import check_folder

if TYPE_CHECKING:
    from pathlib import Path

    from ovseg.apis.calibration import Calibration
    from ovseg.vocabulary import Vocabulary

_SCENES = 'scenes'


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('images', metavar='IMAGES', help='folder of images, or "scenes"')
    parser.add_argument('labels', metavar='LABELS', help='folder of label maps, or how many scenes')
    parser.add_argument('words', metavar='WORDS', help='as of "ovseg segment"')
    parser.add_argument(
        '--rule',
        choices=('threshold', 'margin', 'energy', 'contrast_margin'),
        default='threshold',
        help='what is compared with the limit (default: %(default)s); contrast_margin, how far a '
        'class is ahead of words for "none of these", goes with --contrast or --background',
    )
    parser.add_argument(
        '--keep',
        type=float,
        metavar='P',
        help='keep this share of the pixels that are right; without it the limit is the one that '
        'best tells "none of these", or keeps 0.95 where no pixel is none of these',
    )
    parser.add_argument('--out', metavar='FILE.json', required=True, help='the file written')
    add_model_arguments(parser)
    parser.add_argument('--json', action='store_true', help='print what the file holds')
    parser.set_defaults(task='semantic', stuff=None, threshold=None, rejection=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Fits, writes the file, prints a table and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: nothing that a limit could be fitted to, or a file that cannot be written.
        FileNotFoundError: a folder that is not there.
    """
    if not args.out.endswith('.json'):
        raise UserError(f'--out must end in .json, so that --rejection takes it: {args.out}')
    check_folder(os.path.dirname(args.out) or '.')
    if args.images == _SCENES and not (args.labels.isdecimal() and int(args.labels)):
        raise UserError(f'"scenes" is followed by how many, such as 40, got {args.labels!r}')
    vocabulary = checked_words(args)
    assert vocabulary is not None  # words are required
    check_device(args.device)
    from ovseg.apis.calibration import calibrate
    from ovseg.cli.segment_files import segmenter_of

    draw = _drawn if args.images == _SCENES else _read
    found = calibrate(
        segmenter_of(args),
        draw(args, vocabulary),
        vocabulary,
        args.rule,
        background=args.background,
        keep=args.keep,
    )
    path = found.save(args.out)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if args.json else _told(found, path))
    if not args.json:
        print(f'written to {printable_line(path)}')
    return EXIT_OK


def _told(found: Calibration, path: Path) -> str:
    from ovseg.tables import text_table

    rows = [
        (exact(cast('float', point['limit'])), *(_share(point[name]) for name in _COLUMNS[1:]))
        for point in found.curve[4::5]
    ]
    told = [f'{found.rejection.describe()}: {found.criterion}']
    # Typed, the limit is the same; what it was fitted on is in the file alone.
    told.append(f'--rejection {printable_line(path)}, or as text: {found.rejection.options()}')
    if found.auroc is not None:
        told.append(
            f'AUROC {found.auroc:.3f}, false alarms {found.false_alarms:.3f} where 95 % are found'
        )
    return '\n'.join([*told, '', text_table(_COLUMNS, rows, left=0), ''])


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


_COLUMNS = ('limit', 'coverage', 'risk', 'none_found')


def _read(args: argparse.Namespace, vocabulary: Vocabulary) -> Iterator[tuple[Any, Any]]:
    """Images of a folder with their label maps."""
    from ovseg.datasets import LabelledFolderDataset

    names = [item.name for item in vocabulary.asked]
    dataset = LabelledFolderDataset(
        data_root=args.images,
        data_prefix={'img_path': '', 'seg_map_path': os.path.abspath(args.labels)},
        metainfo={'classes': [*names, 'none of these']},
        pipeline=[{'type': 'LoadSegLabels'}],
    )
    for index in range(len(dataset)):
        sample = dataset[index]
        yield sample['img_path'], sample['gt_seg_map']


def _drawn(args: argparse.Namespace, vocabulary: Vocabulary) -> Iterator[tuple[Any, Any]]:
    """Scenes of the training split with the labels that the words give them."""
    import numpy as np

    from ovseg.scenes import ScenesDataset

    names = [item.name for item in vocabulary.asked]
    classes = ScenesDataset.METAINFO['classes']
    if not set(names) & set(classes):
        raise UserError(f'none of {", ".join(names)} is in Scenes: name of {", ".join(classes)}')
    table = np.array([names.index(name) if name in names else len(names) for name in classes])
    steps = [{'type': 'LoadScene'}, {'type': 'LoadSceneLabels'}]
    dataset = ScenesDataset(split='train', num_scenes=int(args.labels), pipeline=steps)
    for index in range(len(dataset)):
        sample = dataset[index]
        yield np.ascontiguousarray(sample['img'][..., ::-1]), table[sample['gt_seg_map']]


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json)
