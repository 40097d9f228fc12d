from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from ovseg.errors import UserError
from ovseg.settings import check_value, parameters_of, read_settings, takes_text


@pytest.mark.parametrize(
    'annotation, good, bad',
    [
        ('float | None', [1, 1.5, None], ['abc', [1.0], {}]),
        (int, [1, True, 2.0], ['1', 1.5, None, [1]]),
        (bool, [True, 0], ['yes', 3, None]),
        (Optional[str], ['a', None, Path('a')], [1, ['a']]),  # noqa: UP045
        ('Sequence[float]', [[1, 2.5], (3,), []], ['abc', 5, ['a'], None]),
        ('tuple[int, int] | None', [3, (3, 4), [3, 4], None], ['3', (3, 'a')]),
        (Sequence[str] | str, ['a', ['a', 'b']], [1, [1]]),
        ('tuple', [(1, 'a', None)], ['abc', 3]),
        ('Mapping[str, Any] | None', [1, 'a', {}], []),
        (Any, [1, 'a', None], []),
    ],
)
def test_values_are_checked_where_the_annotation_is_plain(annotation, good, bad):
    for value in good:
        check_value(value, annotation, 'model.x')
    for value in bad:
        if isinstance(value, dict):
            continue  # of its reader
        with pytest.raises(UserError, match='model.x is .*, but takes '):
            check_value(value, annotation, 'model.x')


def test_what_takes_text():
    kinds = {
        name: takes_text(name) for name in ('str', 'str | Path | None', 'str | float', 'int', '')
    }
    assert list(kinds.values()) == ['text', 'text', 'text or other', 'any', 'any']
    assert takes_text('str | Sequence[str]') == 'text or list'


@dataclass(frozen=True)
class Blur:
    sigma: float = 1.0
    sides: tuple[int, int] | None = None


def test_settings_of_a_dataclass():
    assert read_settings(Blur, {'sigma': 2, 'sides': [3, 4]}, 'blur') == Blur(2, [3, 4])
    with pytest.raises(UserError, match="blur has no setting 'sigm'.*Did you mean 'sigma'"):
        read_settings(Blur, {'sigm': 2}, 'blur')
    with pytest.raises(UserError, match="blur.sigma is 'abc', but takes float; give such a value"):
        read_settings(Blur, {'sigma': 'abc'}, 'blur')


class Base:
    def __init__(self, wide, high=1):
        pass


class Handing(Base):
    def __init__(self, deep: int, **settings):
        super().__init__(**settings)


class Choosing(Handing):
    def __init__(self, name: str):
        super().__init__(1, wide=2)


def test_settings_that_are_handed_on_are_known():
    names, is_open = parameters_of(Handing)
    assert (list(names), is_open) == (['deep', 'wide', 'high'], False)
    assert parameters_of(Choosing) == ({'name': 'str'}, False)
    assert parameters_of(lambda **anything: None)[1]
