"""What the page says in words: notices, errors, and why a pixel is what it is; as HTML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from html import escape
from typing import TypeVar

from ovseg.apis.nearest_words import NearestWords, WordScore
from ovseg.app.corrections import Corrections
from ovseg.errors import UserError, printable

_Answer = TypeVar('_Answer')
_MOST_WORDS = 8
_logger = logging.getLogger('ovseg')


def or_sentence(work: Callable[[], _Answer]) -> tuple[_Answer | None, str]:
    """What some work gives and '', or None and a sentence on why there is nothing.

    Args:
        work: may raise anything; what is no message for a user goes to the log.
    """
    try:
        return work(), ''
    except (UserError, FileNotFoundError) as error:
        return None, printable(error)
    except Exception:
        _logger.exception('The page could not answer')
        return None, (
            'ovseg failed at this, which is a fault of its own: the terminal in which ovseg app '
            'runs says where.'
        )


def notes_html(error: str, notices: Sequence[str] = (), done: str = '') -> str:
    """Sentences below the words.

    Args:
        error: why there is no answer, or ''.
        notices: on why an answer may not be what was wanted.
        done: how it went, or ''.
    """
    kinds = [
        *([('error', error)] if error else []),
        *(('notice', notice) for notice in notices),
        *([('done', done)] if done else []),
    ]
    return ''.join(
        f'<p class="ov-{kind}"{_ROLES.get(kind, "")}>{escape(text)}</p>' for kind, text in kinds
    )


_ROLES = {'error': ' role="alert"'}


def why_html(why: NearestWords) -> str:
    """The words that competed for a pixel, the nearest first, as a table.

    Args:
        why: of the pixel.
    """
    lines = ''.join(
        f'<tr><td>{_swatch(why, each.label)} {escape(", ".join(each.words))}{_class(why, each)}'
        f'</td><td>{each.score:.3f}</td><td>{_margin(each.margin)}</td>'
        f'<td>{each.probability:.2f}</td></tr>'
        for each in why.words[:_MOST_WORDS]
    )
    more = len(why.words) - _MOST_WORDS
    rest = f'<p class="ov-more">and {more} more, further away</p>' if more > 0 else ''
    return (
        f'<p class="ov-title">Why row {why.row}, column {why.column}?</p>'
        f'<p>{escape(why.reason)}</p><table><thead><tr><th>Words</th>'
        '<th>Score</th><th>Margin</th><th>Probability</th></tr></thead>'
        f'<tbody>{lines}</tbody></table>{rest}'
    )


def learnt_html(corrections: Corrections) -> str:
    """What a visitor corrected, the last first.

    Args:
        corrections: of the visitor.
    """
    lines = ''.join(
        f'<li>{escape(each.word)}: row {each.row}, column {each.column} of {escape(each.name)}</li>'
        for each in reversed(corrections)
    )
    return f'<p class="ov-title">Corrected</p><ul>{lines}</ul>' if lines else ''


def _margin(margin: float) -> str:
    return 'nearest' if not margin else f'\N{MINUS SIGN}{margin:.3f}'


def _class(why: NearestWords, each: WordScore) -> str:
    """Which class words stand for, where they are not its name."""
    name = why.names[each.label]
    return '' if each.words == (name,) else f' <span class="ov-of">of {escape(name)}</span>'


def _swatch(why: NearestWords, label: int) -> str:
    if label == why.background_index:  # it is not painted
        return '<span class="ov-swatch ov-none"></span>'
    color = ','.join(str(int(channel)) for channel in why.palette[label])
    return f'<span class="ov-swatch" style="background:rgb({color})"></span>'
