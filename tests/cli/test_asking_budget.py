"""``--budget``: taken by models that ask for each word by itself, refused for others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovseg.cli.asking_budget import set_budget
from ovseg.cli.label import build_parser as label_parser
from ovseg.cli.segment import build_parser
from ovseg.errors import UserError


def test_the_commands_take_it_and_hand_it_on():
    asked = []
    segmenter = SimpleNamespace(name='a', model=SimpleNamespace(set_budget=asked.append))
    for parser, rest in ((build_parser(), []), (label_parser(), ['--out-dir', 'out'])):
        args = parser.parse_args(['photo.jpg', 'cat', '--budget', 'dense', *rest])
        set_budget(segmenter, args.budget)
    set_budget(segmenter, build_parser().parse_args(['photo.jpg', 'cat']).budget)
    assert asked == ['dense', 'dense']


def test_a_model_that_asks_for_all_at_once_refuses_it():
    segmenter = SimpleNamespace(name='maskclip-tiny', model=object())
    with pytest.raises(UserError, match='maskclip-tiny asks for all at once: leave it out'):
        set_budget(segmenter, 'full')
