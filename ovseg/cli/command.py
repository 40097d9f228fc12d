"""The command ``ovseg``: one table of its sub-commands, and the way to each.

A sub-command is a module with ``build_parser(prog)``, ``run(args)``, and of these two the
``main(argv, prog)`` that :func:`~ovseg.cli.entry.main_of` makes: it reads the words and runs. The
module imports torch in ``run`` and nowhere before, so that help and wrong words are answered at
once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import ovseg
from ovseg.errors import EXIT_NOTHING_DONE, UserError, nearest, run_cli
from ovseg.process_end import leave


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        name: what people type.
        summary: what it does, in a few words.
        module: where it is, below ``ovseg.cli``.
    """

    name: str
    summary: str
    module: str

    def load(self) -> ModuleType:
        """The module, imported."""
        return import_module(f'ovseg.cli.{self.module}')


COMMANDS = (
    Command('segment', 'masks of what you name, in images or the frames of a video', 'segment'),
    Command(
        'label', 'masks of what you name in many images: fast, and goes on when killed', 'label'
    ),
    Command('explain', 'why a pixel of an image gets its label', 'explain'),
    Command('calibrate', 'fit a rejection rule to a few labelled images', 'calibrate'),
    Command('raster', 'masks of what you name in a raster of any size, as maps', 'raster'),
    Command('app', 'a web page: drop an image, type words, see masks', 'app'),
    Command('models', 'the models that go by a name: licence, size, speed', 'models'),
    Command('test', 'evaluate a model on a data set', 'test'),
    Command('train', 'train a model', 'train'),
    Command('prepare', 'make what a data set lacks, and check all of it', 'prepare'),
    Command('templates', 'which sentence asks best for each class, from images alone', 'templates'),
    Command('bank', 'a bank of regions of unlabelled images, for CorrCLIP', 'bank'),
    Command('teach', 'examples of what words do not say: add, list, remove, merge', 'teach'),
    Command('export', 'write what a training made as a file for others', 'export'),
    Command('benchmark', 'time and memory of a model, stage by stage', 'benchmark'),
    Command('check', 'does ovseg work here? what a bug report needs', 'check'),
    Command('completion', 'print the script that lets a shell complete words', 'completion'),
)
_ABOUT = """Open-vocabulary segmentation: an image and words in, masks out.

commands:
{commands}

Each says what it takes: ovseg COMMAND --help

Examples::

    ovseg segment photo.jpg "cat, kitten; sofa; wall" --model maskclip-vit-b16
    ovseg models
    ovseg check --json

Exit codes: 0 all done; 1 some of many failed, they are listed; 2 nothing could be done, one
sentence says why; 130 interrupted by Ctrl-C.
"""


def find_command(name: str) -> Command:
    """The sub-command of a name.

    Raises:
        UserError: there is none; names the nearest one, or the one that takes images.
    """
    for command in COMMANDS:
        if command.name == name:
            return command
    names = [command.name for command in COMMANDS]
    if os.path.exists(name):
        raise UserError(f'Say what to do with {name}: ovseg segment {name} "cat; sofa".')
    raise UserError(
        f'There is no command {name!r}: use one of {", ".join(names)}.' + nearest(name, names)
    )


def build_parser() -> argparse.ArgumentParser:
    """What ``ovseg`` itself takes, without its sub-commands; the table of them is in its help."""
    width = max(len(command.name) for command in COMMANDS)
    lines = '\n'.join(f'  {command.name:{width}}  {command.summary}' for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog='ovseg',
        usage='ovseg COMMAND ...',
        description=_ABOUT.format(commands=lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'ovseg {ovseg.__version__}')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``ovseg``.

    Args:
        argv: the words behind it; None for the process's own.

    Returns:
        The exit code; see :func:`ovseg.errors.run_cli`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return run_cli(lambda: _run(words))


def enter() -> NoReturn:
    """Runs ``ovseg`` with the words of the process, and ends it: what the console script calls."""
    leave(main())


def _run(words: list[str]) -> int:
    if words and not words[0].startswith('-'):
        command = find_command(words[0])
        return int(command.load().main(words[1:], f'ovseg {command.name}'))
    parser = build_parser()
    parser.parse_args(words)
    parser.print_help(sys.stderr)
    return EXIT_NOTHING_DONE
