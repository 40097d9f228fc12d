"""``ovseg test --suite``: options of the suites, and the test loop that they stand for."""

from __future__ import annotations

import argparse
import copy
from typing import TYPE_CHECKING, Any

from ovseg.cli.exemplar_arguments import CLASSIFIERS
from ovseg.errors import UserError
from ovseg.input_files import regular_file

if TYPE_CHECKING:
    from mmengine.config import Config

_NAMES = ('words', 'none', 'cost', 'fewshot', 'episodes', 'single')
# Settings whose option has another name.
_OPTIONS = {'words': '--suite-words', 'images': '--suite-images', 'seed': '--suite-seed'}
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
        'classes left out of the words; cost: seconds beside accuracy by number of classes; '
        'fewshot: examples of all classes and of half of them; episodes: one novel class at a '
        'time, as of PASCAL-5i; single: one class at a time beside contrast words',
    )
    group.add_argument('--suite-words', metavar='FILE.json', help='synonyms and others, by class')
    group.add_argument('--suite-images', type=int, metavar='N', help='only the first N images')
    group.add_argument(
        '--leave-out', type=int, metavar='K', help='classes left out at a time (default: 3)'
    )
    group.add_argument(
        '--rounds', type=int, metavar='N', help='draws of words or examples (default: 3; fewshot 4)'
    )
    group.add_argument(
        '--shots',
        type=int,
        nargs='+',
        metavar='N',
        help='images a class that examples are drawn from (default: 1 5 20; episodes 1 5)',
    )
    group.add_argument(
        '--rules',
        nargs='+',
        choices=CLASSIFIERS[:-1],
        metavar='RULE',
        help='of examples (default: all but rns, which is fitted to each image)',
    )
    group.add_argument('--episodes', type=int, metavar='N', help='a fold and draw (default: 1000)')
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
        'shots': args.shots,
        'rules': args.rules,
        'episodes': args.episodes,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.suite is None:
        if given:
            raise UserError(f'{", ".join(map(_option, given))}: add --suite')
        return None
    for name in _NOT_WITH:
        if getattr(args, name):
            raise UserError(f'--suite and --{name.replace("_", "-")} do not go together')
    for name in ('rounds', 'episodes'):
        if given.get(name, 1) < 1:
            raise UserError(f'--{name} must be at least 1')
    if min(given.get('shots', (1,))) < 1:
        raise UserError('--shots are numbers of images from 1 on; words alone are always asked')
    if args.suite_words is not None:
        regular_file(args.suite_words, 'file of suite words')
    return {'type': 'SuiteLoop', 'suite': args.suite, **given}


def _option(name: str) -> str:
    return _OPTIONS.get(name, '--' + name.replace('_', '-'))


def suite_data(config: Config) -> dict[str, Any]:
    """What a config says about the images that examples are drawn from, for the test loop.

    Args:
        config: with ``support``, what differs in the data set of the test (an empty dict: nothing,
            the tested images), else ``training``, the same for training; and with ``folds``.
    """
    found: dict[str, Any] = {'folds': config.get('folds')}
    support = config.get('support', config.get('training'))
    if support is not None:
        dataset = copy.deepcopy(config.test_dataloader.dataset)
        dataset.update(support)
        found['support'] = dataset if support else 'tested'
    return found
