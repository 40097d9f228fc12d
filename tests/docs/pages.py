"""Blocks of code in the pages: fenced ones, and paragraphs that are indented by four blanks."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest
from scripts import ROOT, load_script

from ovseg.cli import command

PAGES = ('README.md', *(f'docs/{path.name}' for path in sorted(ROOT.glob('docs/*.md'))))
_SHELL = re.compile(
    r'(ovseg|torchrun|python|make|pip|mv|tensorboard|tools/\w+\.sh|OVSEG_ON=\w+ \w+)(?= )'
    r'|\$ (?:python|ovseg) ',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        page: its path below the checkout.
        line: of its first line, from 1.
        language: of a fence; '' for none.
        text: without the indentation.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def first(self) -> str:
        """Its first line, which the tables of tests name it by."""
        return self.text.splitlines()[0]

    @property
    def is_shell(self) -> bool:
        """Whether commands stand in it, and nothing else."""
        return self.language in ('', 'sh', 'text') and bool(_SHELL.match(self.text))

    @property
    def is_python(self) -> bool:
        """Whether it is Python, with or without a prompt."""
        if self.language:
            return self.language == 'python'
        try:
            compile(self.text, str(self), 'exec')
        except SyntaxError:
            return False
        return True

    def commands(self) -> list[str]:
        """Its commands, each on one line, with the comments behind them; not what they print."""
        joined = re.sub(r'\\\n\s*', '', self.text)
        start = '$ ' if joined.startswith('$ ') else ''
        return [line for line in joined.splitlines() if line.strip() and line.startswith(start)]


def read_blocks(page: str, text: str | None = None) -> list[Block]:
    """All blocks of a page, in their order.

    Args:
        page: its path below the checkout.
        text: what it says; None for what the file says.
    """
    text = (ROOT / page).read_text(encoding='utf-8') if text is None else text
    return [Block(page, *found) for found in _parts(text.splitlines())]


@cache
def all_blocks() -> tuple[Block, ...]:
    """The blocks of all pages."""
    return tuple(block for page in PAGES for block in read_blocks(page))


def _parts(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    number = 0
    while number < len(lines):
        start = number
        if lines[number].startswith('```'):
            number += 1
            while not lines[number].startswith('```'):
                number += 1
            yield start + 2, lines[start][3:], '\n'.join(lines[start + 1 : number])
            number += 1
        elif _is_indented(lines[number]) and (number == 0 or not lines[number - 1].strip()):
            while number < len(lines) and (
                _is_indented(lines[number]) or _goes_on(lines, number, start)
            ):
                number += 1
            yield start + 1, '', textwrap.dedent('\n'.join(lines[start:number]))
        else:
            number += 1


def _is_indented(line: str) -> bool:
    return line.startswith('    ') and bool(line.strip())


def _goes_on(lines: list[str], number: int, start: int) -> bool:
    """Whether an empty line is inside of a block: Python goes on behind it, no command follows."""
    following = lines[number + 1] if number + 1 < len(lines) else ''
    return (
        not lines[number].strip()
        and _is_indented(following)
        and (not _SHELL.match(following.strip()) or bool(_SHELL.match(lines[start].strip())))
    )


class Parsed(Exception):
    """A command line was read to its end."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.namespace = args


def parse(script: str, words: list[str]) -> argparse.Namespace:
    """The arguments of a script as its own parser reads them; nothing is run.

    Args:
        script: its path below the checkout, such as ``tools/test.py``; or ``ovseg``.
        words: of its command line.
    """
    if script == 'ovseg':
        module = command
    else:
        folder, name = script.removesuffix('.py').split('/')
        module = load_script(name, folder)
    with pytest.MonkeyPatch.context() as patch:
        for method in ('parse_args', 'parse_intermixed_args'):
            patch.setattr(
                argparse.ArgumentParser, method, _stopping(getattr(argparse.ArgumentParser, method))
            )
        patch.setattr(sys, 'argv', [script, *words])
        with pytest.raises(Parsed) as stopped:
            module.main()
    return stopped.value.namespace


def _stopping(method):
    def parse_and_stop(self, args=None, namespace=None):
        raise Parsed(method(self, args, namespace))

    return parse_and_stop


def words_of(command: str) -> list[str]:
    """The words of a command, without its comment; what a page calls optional is among them."""
    command = re.sub(r'(?<=\s)\[arguments[^]]*\]', '', command)
    if re.search(r'\s\[[A-Z-]', command):
        command = re.sub(r'(?<=\s)\[+|\]+(?=\s|$)', '', command)
    return shlex.split(command.removeprefix('$ '), comments=True)
