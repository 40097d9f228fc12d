"""Numbers that stand in one word of the command line."""

from __future__ import annotations

from ovseg.errors import UserError


def numbers_of(text: str, option: str) -> list[float]:
    """Numbers with commas between them.

    Args:
        text: such as '40,60,120,160'.
        option: whose value it is, for the message.

    Raises:
        UserError: something else.
    """
    try:
        return [float(part) for part in text.split(',')]
    except ValueError as error:
        raise UserError(f'{option} takes numbers with commas between them, got {text!r}') from error
