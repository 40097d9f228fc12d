"""Names of published models, as configs give them."""

from __future__ import annotations

from collections.abc import Collection

from ovseg.errors import UserError, nearest


def check_published(
    model: str, published: Collection[str], key: str, embedded: Collection[str] = ()
) -> None:
    """Stops at a name that no published model has.

    Args:
        model: the name.
        published: names that there are.
        key: of the setting, for the message.
        embedded: names that the setting takes, too, for the message.

    Raises:
        UserError: tells the names, and the nearest one.

    Example:
        >>> check_published('dino_vitb16', ['dino_vitb16', 'dino_vits8'], 'dino.model')
    """
    if model not in published:
        names = (*published, *embedded)
        raise UserError(
            f"{key} must be one of {', '.join(names)} or a dict, got '{model}'."
            f'{nearest(model, names)}'
        )
