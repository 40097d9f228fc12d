"""Masks of what you name in many images: in common batches, read ahead, written meanwhile.

A run that was killed goes on where it was: the same command does only what is left. In the output
folder label.json says what was asked, found.jsonl has a line for each image that is done, and
failed.jsonl one for each that failed; those are tried again by the next run.

Examples::

    %(prog)s photos/ "cat, kitten; sofa; wall" --out-dir masks
    %(prog)s photos/ words.txt --out-dir masks --model maskclip-vit-b16 --batch-size 16
    %(prog)s list.txt "dog; grass" --out-dir masks --save labels     # a path a line
    %(prog)s "photos/**/*.jpg" "dog; grass" --out-dir areas --save none
    %(prog)s photos/ "dog; grass" --out-dir masks --set-files coco,areas
    %(prog)s photos/ "dog; grass" --out-dir masks --task panoptic --stuff grass --model ovseg-tiny
    torchrun --nproc-per-node 8 -m ovseg label photos/ "dog; grass" --out-dir masks

Exit codes: 0 all done; 1 some images failed, they are listed; 2 nothing could be done.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ovseg.apis.kinds import KINDS_OF_SET_FILES
from ovseg.apis.tasks import TASKS
from ovseg.cli.asking_arguments import (
    KINDS,
    add_model_arguments,
    add_task_arguments,
    checked_words,
    chosen_kinds,
    explain_other_tasks,
)
from ovseg.cli.asking_budget import add_budget
from ovseg.cli.entry import main_of
from ovseg.cli.image_arguments import found_images
from ovseg.cli.parsers import check_counts, check_device, new_parser
from ovseg.files import check_folder
from ovseg.images.finding import listed_images
from ovseg.images.parquet_images import COLUMNS, ParquetImages, is_parquet

ENGINES = ('own', 'ray')
SAVED = {'semantic': 'labels,json', 'panoptic': 'panoptic', 'instance': 'instances'}
NOTHING = 'none'


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument(
        'image',
        metavar='FOLDER|LIST|GLOB|PARQUET',
        help='the images; a list is a .txt file with one path a line, from the folder of the list; '
        'Parquet files hold the bytes of image files',
    )
    parser.add_argument(
        'words',
        nargs='?',
        metavar='WORDS',
        help='what to look for, as in ovseg segment; a trained model needs none',
    )
    parser.add_argument('--out-dir', required=True, help='sub-folders of the images are kept in it')
    add_model_arguments(parser)
    add_budget(parser)
    add_task_arguments(parser)
    parser.add_argument(
        '--save',
        metavar='KINDS',
        help='; '.join(
            f'{task}: any of {",".join(KINDS[task])} (default: {SAVED[task]})' for task in TASKS
        )
        + f'; {NOTHING} for the areas in found.jsonl alone',
    )
    parser.add_argument(
        '--set-files',
        metavar='KINDS',
        help='files of the whole set, written at the end: coco for coco.json, one run-length mask '
        'a class present, or a thing each; panoptic for panoptic.json and a folder of PNG files; '
        'areas for areas.parquet, one row an image and class, which needs "ovseg[parquet]"',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=8,
        metavar='N',
        help='images that go through the encoder at once (default: %(default)s)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='threads that read, decide and write (default: one a processor core, 8 at most)',
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help='print one line of JSON an image: its name, the files written, the share of each '
        'class; or why it failed',
    )
    parser.add_argument(
        '--columns',
        metavar='IMAGE,NAME',
        default=COLUMNS,
        help='of Parquet files: the columns with the bytes of image files and with their names '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--engine',
        choices=ENGINES,
        default=ENGINES[0],
        help='this process, or a pool of processes of Ray on a machine or a cluster, which needs '
        '"ovseg[ray]" (default: %(default)s)',
    )
    parser.add_argument(
        '--ray-workers',
        type=int,
        metavar='N',
        help='processes of --engine ray (default: one a GPU, or one for 8 processor cores)',
    )
    parser.set_defaults(every=None, more_images=[])
    return parser


def run(args: argparse.Namespace) -> int:
    """Labels; returns 0 (all done), 1 (some images failed) or 2 (nothing done).

    Args:
        args: of :func:`build_parser`.
    """
    check_counts(args, 'batch_size', 'workers', 'ray_workers')
    explain_other_tasks(args)
    save = SAVED[args.task] if args.save is None else args.save
    kinds = [] if save == NOTHING else chosen_kinds(save, args.task)
    set_kinds = (
        []
        if args.set_files is None
        else chosen_kinds(args.set_files, args.task, KINDS_OF_SET_FILES, '--set-files')
    )
    check_folder(args.out_dir)
    parquet = None
    if is_parquet(args.image):
        parquet, found = ParquetImages.find(args.image, args.columns)
    elif args.image.lower().endswith('.txt') and not os.path.isdir(args.image):
        found = listed_images(args.image)
    else:
        found = found_images(args)
    vocabulary = checked_words(args)
    if args.engine == 'own':
        check_device(args.device)
    from ovseg.cli.label_engine import Question
    from ovseg.cli.label_files import label_images, planned
    from ovseg.cli.label_saving import Saving

    saving = Saving(Path(args.out_dir), tuple(kinds), tuple(set_kinds))
    plan = planned(found, args, saving)
    del found  # of a million images it is two gigabytes
    return label_images(Question(args, saving, vocabulary, parquet), plan)


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json)
