"""Masks of what you name: in an image, a folder of images, or the frames of a video.

Examples::

    %(prog)s photo.jpg "cat, kitten; sofa; wall"
    %(prog)s photos/ words.txt --model maskclip-vit-b16 --out-dir masks
    %(prog)s "photos/**/*.jpg" "dog; grass" --background "sky, wall" --save coco
    %(prog)s photos/ --model my_trained.py --checkpoint iter_8000.pth
    %(prog)s scene.png "sky; grass; ball" --task panoptic --stuff "sky; grass" --model ovseg-tiny
    %(prog)s clip.mp4 "dog; grass" --every 30            # CLIP/frame_000030_labels.png ...
    %(prog)s photos/ words.txt --json --quiet > found.jsonl
    %(prog)s photo.jpg "mug; table" --model sam3-segearth --box mug=40,60,120,160

Exit codes: 0 all done; 1 some images of many failed, they are listed; 2 nothing could be done.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ovseg.cli.asking_arguments import (
    add_json_lines,
    add_model_arguments,
    add_save,
    add_task_arguments,
    checked_words,
    chosen_kinds,
    explain_other_tasks,
)
from ovseg.cli.asking_budget import add_budget
from ovseg.cli.box_arguments import add_boxes
from ovseg.cli.entry import main_of
from ovseg.cli.image_arguments import found_images, take_more_images
from ovseg.cli.parsers import check_device, new_parser
from ovseg.errors import UserError
from ovseg.files import check_folder
from ovseg.folders import is_pattern, is_video_name
from ovseg.input_files import refuse_address

if TYPE_CHECKING:
    from ovseg.images.finding import FoundImages
    from ovseg.images.video import Video

SAVED = {
    'semantic': 'labels,overlay,json',
    'panoptic': 'overlay,panoptic',
    'instance': 'overlay,instances',
}


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument(
        'image',
        metavar='IMAGE|FOLDER|GLOB|VIDEO',
        help='what to segment; several images may follow',
    )
    parser.add_argument(
        'words',
        nargs='?',
        metavar='WORDS',
        help='what to look for: classes by ";", synonyms by ",", or a .txt or .json file; a '
        'trained model has classes of its own and needs none',
    )
    parser.add_argument('extra', nargs='*', metavar='WORDS', help=argparse.SUPPRESS)
    add_model_arguments(parser)
    add_budget(parser)
    add_boxes(parser)
    parser.add_argument('--out-dir', default='outputs', help='default: %(default)s')
    add_task_arguments(parser)
    add_save(parser, SAVED)
    parser.add_argument(
        '--every', type=int, metavar='N', help='of a video, one frame of N (default: all)'
    )
    parser.add_argument(
        '--check-vocab',
        action='store_true',
        help='first tell which words will give trouble: classes that are nearly one, synonyms '
        'nearer to another class, words that the model reads in pieces',
    )
    add_json_lines(parser)
    return parser


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
            f'{args.prog} {args.image} "cat; sofa" --model {args.words}{checkpoint}'
        )
    if args.extra:
        words = '; '.join([args.words, *args.extra])
        raise UserError(
            f'there are {len(args.extra)} arguments too many: put all words between quotes, such '
            f'as "{words}"'
        )


def run(args: argparse.Namespace) -> int:
    """Segments; returns 0 (all done), 1 (some of many images failed) or 2 (nothing done).

    Args:
        args: of :func:`build_parser`.
    """
    take_more_images(args)
    explain_other_forms(args)
    explain_other_tasks(args)
    save = SAVED[args.task] if args.save is None else args.save
    kinds = chosen_kinds(save, args.task)
    check_folder(args.out_dir)
    if is_video_name(args.image) and not is_pattern(args.image) and not args.more_images:
        from ovseg.images.video import Video

        refuse_address(args.image, 'video')
        found: FoundImages | Video = Video.find(args.image)
    else:
        found = found_images(args)
    vocabulary = checked_words(args)
    check_device(args.device)
    from ovseg.cli.segment_files import segment_images

    return segment_images(args, kinds, found, vocabulary)


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json)
