"""Print the script that lets a shell complete the words of ovseg.

Examples::

    ovseg completion bash > ~/.local/share/bash-completion/completions/ovseg
    ovseg completion zsh > ~/.zfunc/_ovseg             # with fpath=(~/.zfunc $fpath) in ~/.zshrc
    ovseg completion fish > ~/.config/fish/completions/ovseg.fish

The script is made by shtab (pip install "ovseg[completion]") and does without it afterwards. Make
it again after an update of ovseg.
"""

from __future__ import annotations

import argparse
from typing import Any

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import new_parser
from ovseg.errors import EXIT_OK
from ovseg.extras import of_extra

SHELLS = ('bash', 'zsh', 'fish')
# What stands behind these arguments, by their names; what is not here is a word of its own.
_FILES = (
    'image',
    'checkpoint',
    'config',
    'out',
    'into',
    'words',
    'template_set',
    'resume',
    'descriptions',
    'experts',
)
_FOLDERS = ('out_dir', 'work_dir', 'data_root', 'show_dir')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('shell', choices=SHELLS, help='which one')
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """One parser of the whole command, with the parsers of all sub-commands in it."""
    from ovseg.cli.command import COMMANDS, build_parser

    parser = build_parser()
    commands = parser.add_subparsers(  # type: ignore[call-overload]  # it is called, no more
        metavar='COMMAND', parser_class=_as_it_is
    )
    for command in COMMANDS:
        own = command.load().build_parser(f'ovseg {command.name}')
        commands.add_parser(command.name, help=command.summary, parser=own)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the script and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: shtab is missing.
    """
    with of_extra('completion', 'Completion scripts are made by shtab'):
        import shtab
    parser = whole_parser()
    _say_what_is_a_file(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, args.shell))
    return EXIT_OK


main = main_of(build_parser, run, prints=lambda args: True)


def _as_it_is(parser: argparse.ArgumentParser, **_: Any) -> argparse.ArgumentParser:
    """Takes the place of the class that argparse would build a sub-command's parser from."""
    return parser


def _say_what_is_a_file(parser: argparse.ArgumentParser, file: Any, folder: Any) -> None:
    """Tells shtab which words are names of files, by the attribute that it reads."""
    from ovseg.zoo import list_models

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in {id(each): each for each in action.choices.values()}.values():
                _say_what_is_a_file(inner, file, folder)
        elif action.dest in _FOLDERS:
            action.complete = folder  # type: ignore[attr-defined]  # shtab's own
        elif action.dest in _FILES:
            action.complete = file  # type: ignore[attr-defined]  # shtab's own
        elif action.dest == 'model' or (action.dest == 'name' and not action.option_strings):
            action.choices = [entry.name for entry in list_models()]
