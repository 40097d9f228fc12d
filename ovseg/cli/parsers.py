"""What the parsers of all commands have in common."""

from __future__ import annotations

import argparse

from ovseg.errors import UserError


def new_parser(
    about: str | None, prog: str | None, quiet: str | None = None
) -> argparse.ArgumentParser:
    """A parser with ``--quiet``, whose help shows the words as they were written.

    Args:
        about: the help; ``%(prog)s`` in it stands for the command.
        prog: how the command is called; None for the name of the script that runs.
        quiet: what ``--quiet`` does, where that is not to print nothing but warnings and errors.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_quiet(parser, quiet)
    parser.set_defaults(prog=parser.prog)
    return parser


def check_device(device: str | None) -> None:
    """Stops at a device that is not there, known from torch alone: mmseg takes seconds more.

    Args:
        device: as typed; None: any, for which torch is not imported.

    Raises:
        UserError: no such device, or this machine has none.
    """
    if device is not None:
        from ovseg.devices import choose_device

        choose_device(device)


def check_counts(args: argparse.Namespace, *names: str) -> None:
    """Stops at options that count something and are less than 1; None and lists are allowed.

    Args:
        args: with the options.
        names: of them, as attributes.

    Raises:
        UserError: names the first such option.
    """
    for name in names:
        given = getattr(args, name)
        counts = given if isinstance(given, (list, tuple)) else [given]
        if any(count is not None and count < 1 for count in counts):
            raise UserError(f'--{name.replace("_", "-")} must be at least 1.')


def add_compile(parser: argparse.ArgumentParser, does: str) -> None:
    """Adds ``--compile``.

    Args:
        parser: receives it.
        does: the first words of its help.
    """
    parser.add_argument(
        '--compile',
        action='store_true',
        help=f'{does} by torch.compile: the first image waits for it, one program then serves all '
        'sizes; needs a C++ compiler',
    )


def add_rejection(parser: argparse.ArgumentParser) -> None:
    """Adds ``--rejection``.

    Args:
        parser: receives it.
    """
    parser.add_argument(
        '--rejection',
        metavar='RULE',
        help='which pixels are none of the classes: a file of "ovseg calibrate", or limits such as '
        '"margin=0.1, threshold=0.3", also of energy, presence_top and presence_within',
    )


def add_quiet(parser: argparse.ArgumentParser, does: str | None = None) -> None:
    """Adds ``--quiet``.

    Args:
        parser: receives it.
        does: what it does; see :func:`new_parser`.
    """
    parser.add_argument(
        '-q',
        '--quiet',
        action='store_true',
        help=does or 'print nothing but warnings and errors: files and the exit code tell the rest',
    )
