"""The way into every sub-command: words are read, then it runs, quietly if that was asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Protocol

from ovseg.consoles import quiet


class Main(Protocol):
    """Reads the words of a sub-command, runs it and returns its exit code."""

    def __call__(self, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
        """See the class.

        Args:
            argv: the words; None for the process's own.
            prog: how the command is called; None for the name of the script that runs.
        """


def main_of(
    build_parser: Callable[[str | None], argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
    *,
    intermixed: bool = False,
    prints: Callable[[argparse.Namespace], bool] = lambda args: False,
) -> Main:
    """The ``main`` of a sub-command.

    Args:
        build_parser: takes what it is called.
        run: does what the words say; returns the exit code.
        intermixed: whether words may stand behind options although they may also be left out.
        prints: whether what it prints was asked for by a program, so that ``--quiet`` keeps it.
    """

    def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
        parser = build_parser(prog)
        args = parser.parse_intermixed_args(argv) if intermixed else parser.parse_args(argv)
        with quiet(args.quiet, prints=prints(args)):
            return run(args)

    return main
