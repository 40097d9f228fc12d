"""``ovseg test --suite``: options of the suites, and the test loop that they stand for."""

from __future__ import annotations

import argparse
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import regular_file

_NAMES = ('words', 'none', 'cost')
_NOT_WITH = ('out', 'show', 'show_dir', 'tta')


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of suites.

    Args:
        parser: receives them.
    """
    group = parser.add_argument_group('suites: many questions about each image, encoded once')
    group.add_argument(
        '--suite',
        choices=_NAMES,
        help='words: official and plain words, synonyms, hypernyms, near words beside; none: '
        'classes left out of the words; cost: seconds beside accuracy by number of classes',
    )
    group.add_argument('--suite-words', metavar='FILE.json', help='synonyms and others, by class')
    group.add_argument('--suite-images', type=int, metavar='N', help='only the first N images')
    group.add_argument(
        '--leave-out', type=int, metavar='K', help='classes left out at a time (default: 3)'
    )
    group.add_argument('--rounds', type=int, metavar='N', help='draws of words (default: 3)')
    group.add_argument('--suite-seed', type=int, metavar='N', help='of the draws (default: 0)')


def suite_loop(args: argparse.Namespace) -> dict[str, Any] | None:
    """The test loop of the suite that is asked for.

    Args:
        args: with what :func:`add_suite_arguments` adds.

    Returns:
        Settings of :class:`ovseg.engine.suite_loop.SuiteLoop`; None without a suite.

    Raises:
        UserError: options that do not go together.
        FileNotFoundError: there is no such file of words.
    """
    given = {
        'words': args.suite_words,
        'images': args.suite_images,
        'leave_out': args.leave_out,
        'rounds': args.rounds,
        'seed': args.suite_seed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.suite is None:
        if given:
            raise UserError('--suite-words, --suite-images, --leave-out, --rounds: add --suite')
        return None
    for name in _NOT_WITH:
        if getattr(args, name):
            raise UserError(f'--suite and --{name.replace("_", "-")} do not go together')
    if given.get('rounds', 1) < 1:
        raise UserError('--rounds must be at least 1')
    if args.suite_words is not None:
        regular_file(args.suite_words, 'file of suite words')
    return {'type': 'SuiteLoop', 'suite': args.suite, **given}
