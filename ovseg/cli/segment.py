"""Masks of what you name: in an image, a folder of images, or the frames of a video.

Examples::

    %(prog)s photo.jpg "cat, kitten; sofa; wall"
    %(prog)s photos/ words.txt --model maskclip-vit-b16 --out-dir masks
    %(prog)s "photos/**/*.jpg" "dog; grass" --background "sky, wall" --save coco
    %(prog)s photos/ --model my_trained.py --checkpoint iter_8000.pth
    %(prog)s scene.png "sky; grass; ball" --task panoptic --stuff "sky; grass" --model ovseg-tiny
    %(prog)s clip.mp4 "dog; grass" --every 30            # CLIP/frame_000030_labels.png ...
    %(prog)s photos/ words.txt --json --quiet > found.jsonl

Exit codes: 0 all done; 1 some images of many failed, they are listed; 2 nothing could be done.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ovseg.apis.kinds import KINDS_OF_FILES, KINDS_OF_SEGMENT_FILES, check_kinds
from ovseg.apis.tasks import TASKS, no_words, stuff_labels
from ovseg.cli.asking_budget import add_budget
from ovseg.cli.exemplar_arguments import add_exemplar_arguments, check_exemplars
from ovseg.cli.image_arguments import found_images, take_more_images
from ovseg.cli.parsers import add_compile, add_rejection, check_device, new_parser
from ovseg.cli.word_arguments import add_word_arguments, check_word_files
from ovseg.config_files import read_config
from ovseg.consoles import quiet
from ovseg.errors import UserError
from ovseg.files import check_folder
from ovseg.folders import is_pattern, is_video_name
from ovseg.input_files import check_named, refuse_address
from ovseg.precision_choice import add_precision_argument
from ovseg.vocabulary import (
    TEMPLATE_SETS,
    Rejection,
    Vocabulary,
    build_vocabulary,
    get_templates,
)
from ovseg.zoo import DEFAULT_MODEL, check_weights, resolve_model

if TYPE_CHECKING:
    from ovseg.images.finding import FoundImages
    from ovseg.images.video import Video

KINDS = {'semantic': KINDS_OF_FILES, **KINDS_OF_SEGMENT_FILES}
SAVED = {
    'semantic': 'labels,overlay,json',
    'panoptic': 'overlay,panoptic',
    'instance': 'overlay,instances',
}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which model is asked, and how.

    Args:
        parser: receives them.
    """
    add_model_choice(parser)
    add_compile(parser, 'compile the image encoders')
    parser.add_argument(
        '--template-set', help="a template set's name, or a file with one template a line"
    )
    parser.add_argument('--background', metavar='WORDS', help='words for "none of these"')
    add_word_arguments(parser)
    add_exemplar_arguments(parser)


def add_model_choice(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which model it is, and where it runs.

    Args:
        parser: receives them.
    """
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
    parser.add_argument(
        '--device', help='auto (default): a GPU if there is one; cpu, cuda, cuda:1, xpu, mps ...'
    )
    add_precision_argument(parser, 'auto')


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
    parser.add_argument('--out-dir', default='outputs', help='default: %(default)s')
    add_task_arguments(parser)
    parser.add_argument(
        '--save',
        metavar='KINDS',
        help='; '.join(
            f'{task}: any of {",".join(KINDS[task])} (default: {SAVED[task]})' for task in TASKS
        ),
    )
    parser.add_argument(
        '--every', type=int, metavar='N', help='of a video, one frame of N (default: all)'
    )
    parser.add_argument(
        '--check-vocab',
        action='store_true',
        help='first tell which words will give trouble: classes that are nearly one, synonyms '
        'nearer to another class, words that the model reads in pieces',
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help='print one line of JSON an image: its name, the files written, the share of each '
        'class; or why it failed',
    )
    return parser


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what an image is asked.

    Args:
        parser: receives them.
    """
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
    add_rejection(parser)


def chosen_kinds(
    save: str,
    task: str,
    known: Mapping[str, Sequence[str]] = KINDS,
    option: str = '--save',
) -> list[str]:
    """The kinds of files that a task saves.

    Args:
        save: their names, separated by commas.
        task: what is asked.
        known: the kinds that there are, by task.
        option: that names them.

    Raises:
        UserError: no kind, or one that this task does not have.
    """
    kinds = [kind.strip() for kind in save.split(',') if kind.strip()]
    if not kinds:
        raise UserError(f'{option} names nothing to save: use {", ".join(known[task])}.')
    for kind in kinds:
        others = [other for other in TASKS if kind in known[other]]
        if others and task not in others:
            raise UserError(
                f'{option} {kind} belongs to --task {" or ".join(others)}; --task {task} saves '
                f'{", ".join(known[task])}.'
            )
    return check_kinds(kinds, known[task])


def explain_other_tasks(args: argparse.Namespace) -> None:
    """Recognise options that the task, or what is segmented, does not read.

    Raises:
        UserError: what to write instead.
    """
    if args.stuff is not None and args.task == 'semantic':
        raise UserError(
            '--stuff means something to segments only: add --task panoptic or --task instance.'
        )
    if args.every is not None and not is_video_name(args.image):
        raise UserError(f'--every means something to a video only, and {args.image} is none.')
    if args.every is not None and args.every < 1:
        raise UserError('--every must be at least 1.')


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


def checked_words(args: argparse.Namespace) -> Vocabulary | None:
    """The words, and what else can be refused before torch is imported, which takes seconds.

    Args:
        args: see :func:`build_parser`.

    Returns:
        The vocabulary; None for a model with classes of its own.

    Raises:
        UserError: words, a model or templates that are none.
        FileNotFoundError: a file of words or templates that is not there.
    """
    _, place = resolve_model(args.model, args.on)
    check_weights(place.path, args.checkpoint)
    check_named(args.checkpoint)
    check_exemplars(args)
    if args.template_set not in (None, *TEMPLATE_SETS):
        get_templates(args.template_set)
    if args.threshold is not None and args.task == 'semantic':
        Rejection('threshold', args.threshold)
    rejection = Rejection.build(args.rejection)
    if rejection is not None and args.task != 'semantic':
        raise UserError('--rejection means something to pixels only: leave out --task.')
    if args.words is not None:
        vocabulary = build_vocabulary(args.words, rejection)
        check_word_files(args, vocabulary)
        stuff_labels(args.stuff, vocabulary)
        return vocabulary
    model = read_config(place.path, place.on, import_modules=False).model
    if 'clip' in model and model.get('vocabulary') is None:
        raise no_words()
    check_word_files(args, None)
    return None


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


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Reads the words, segments and returns the exit code.

    Args:
        argv: the words; None for the process's own.
        prog: see :func:`build_parser`.
    """
    # Words may stand behind options, too, although they may also be left out.
    args = build_parser(prog).parse_intermixed_args(argv)
    with quiet(args.quiet, prints=args.json):
        return run(args)
