"""The Dockerfile as far as it can be read without docker."""

from __future__ import annotations

import json
import re

from scripts import ROOT

from ovseg.cli import app


def instructions():
    """(word, rest) of each instruction, continued lines joined."""
    text = re.sub(r'^#.*\n', '', (ROOT / 'Dockerfile').read_text(encoding='utf-8'), flags=re.M)
    lines = re.sub(r'\\\n\s*', '', text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line]


def copied():
    return {
        source for word, rest in instructions() if word == 'COPY' for source in rest.split()[:-1]
    }


def test_what_is_copied_is_there_and_not_ignored():
    lines = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    assert lines[1] == '*'
    assert {line[1:] for line in lines if line.startswith('!')} == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_what_setup_reads_is_copied():
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    (folders,) = re.findall(r'for folder in \(([^)]*)\)', setup)
    read = {*re.findall(r"ROOT / '([^']+)'", setup), *re.findall(r"'(\w+)'", folders)}
    assert {'configs', 'model-index.yml', 'ovseg', 'requirements', 'README.md'} <= read
    assert read <= copied()


def test_the_default_command_is_the_web_page_for_all_addresses():
    given = dict(instructions())
    program, command, *rest = json.loads(given['CMD'])
    args = app.build_parser('ovseg app').parse_args(rest)
    assert (program, command, args.host) == ('ovseg', 'app', '0.0.0.0')
    assert given['EXPOSE'] == str(args.port)


def test_torch_is_pinned_and_everything_else_but_pillow():
    runs = ' '.join(rest for word, rest in instructions() if word == 'RUN')
    pins = (ROOT / 'requirements' / 'lock.txt').read_text(encoding='utf-8').splitlines()
    first, left_out = re.findall(r"grep -[Ev] '([^']+)'", runs)
    assert [pin.split('==')[0] for pin in pins if re.match(first, pin)] == ['torch', 'torchvision']
    assert [pin.split('==')[0] for pin in pins if re.match(left_out, pin)] == ['pillow']
