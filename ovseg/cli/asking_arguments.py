"""Options of all commands that ask a model for words, and what of them is refused at once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from ovseg.apis.kinds import KINDS_OF_FILES, KINDS_OF_SEGMENT_FILES, check_kinds
from ovseg.apis.tasks import TASKS, no_words, stuff_labels
from ovseg.cli.exemplar_arguments import add_exemplar_arguments, check_exemplars
from ovseg.cli.parsers import add_compile, add_rejection, check_counts
from ovseg.cli.word_arguments import add_word_arguments, check_word_files
from ovseg.config_files import ConfigPlace, read_config
from ovseg.errors import UserError
from ovseg.folders import is_video_name
from ovseg.input_files import check_named
from ovseg.precision_choice import add_precision_argument
from ovseg.vocabulary import (
    TEMPLATE_SETS,
    Rejection,
    Vocabulary,
    build_vocabulary,
    get_templates,
)
from ovseg.zoo import DEFAULT_MODEL, check_weights, resolve_model

KINDS = {'semantic': KINDS_OF_FILES, **KINDS_OF_SEGMENT_FILES}


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
        'score no more are no segments (default for segments: that of the model)',
    )
    add_rejection(parser)


def add_save(parser: argparse.ArgumentParser, saved: Mapping[str, str], more: str = '') -> None:
    """Adds ``--save``, the kinds of files of each image.

    Args:
        parser: receives it.
        saved: the kinds that are saved without it, by task.
        more: behind its help.
    """
    kinds = (f'{task}: any of {",".join(KINDS[task])} (default: {saved[task]})' for task in TASKS)
    parser.add_argument('--save', metavar='KINDS', help='; '.join(kinds) + more)


def add_json_lines(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json`` of the commands that segment one image after the other.

    Args:
        parser: receives it.
    """
    parser.add_argument(
        '--json',
        action='store_true',
        help='print one line of JSON an image: its name, the files written, the share of each '
        'class; or why it failed',
    )


def check_model(args: argparse.Namespace) -> ConfigPlace:
    """Stops at a model, weights, examples or templates that are none, before torch is imported.

    Args:
        args: with the options of :func:`add_model_arguments`.

    Returns:
        Where the model's config is.

    Raises:
        UserError: see above.
        FileNotFoundError: a file that is named is not there.
    """
    _, place = resolve_model(args.model, args.on)
    check_weights(place.path, args.checkpoint)
    check_named(args.checkpoint)
    check_exemplars(args)
    if args.template_set not in (None, *TEMPLATE_SETS):
        get_templates(args.template_set)
    return place


def checked_words(args: argparse.Namespace) -> Vocabulary | None:
    """The words, and what else can be refused before torch is imported, which takes seconds.

    Args:
        args: with the options of :func:`add_model_arguments` and :func:`add_task_arguments`.

    Returns:
        The vocabulary; None for a model with classes of its own.

    Raises:
        UserError: words, a model or templates that are none.
        FileNotFoundError: a file of words or templates that is not there.
    """
    config = check_model(args)
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
    model = read_config(config.path, config.on, import_modules=False).model
    if 'clip' in model and model.get('vocabulary') is None:
        raise no_words()
    check_word_files(args, None)
    return None


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
    check_counts(args, 'every')


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
