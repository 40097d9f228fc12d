"""Models by name: finding them, and saying which weights users have to bring."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ovseg.config_files import ConfigPlace, place_of_config
from ovseg.errors import UserError, nearest
from ovseg.saved_config import CONFIG, is_saved_model
from ovseg.zoo.entries import ENTRIES
from ovseg.zoo.entry import ModelEntry
from ovseg.zoo.listing import ModelList


def list_models() -> list[ModelEntry]:
    """All models that can be called by name, the default first: a list that prints a table.

    Example:
        >>> [entry.name for entry in list_models()][:2]
        ['maskclip-tiny', 'maskclip-vit-b16']
    """
    return ModelList(ENTRIES)


def find_model(name: str) -> ModelEntry:
    """The entry of a name.

    Raises:
        UserError: no model has that name (the nearest one is suggested).
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    names = [entry.name for entry in ENTRIES]
    raise UserError(
        f'There is no model {name!r}: use one of {", ".join(names)}, or the path of a config.'
        + nearest(name, names)
    )


def resolve_model(model: str | Path, on: str | None = None) -> tuple[str, ConfigPlace]:
    """Name and config of what a user calls a model: a zoo name or a config.

    Args:
        model: a name of ``list_models()``, which is for any images; a config, as for
            :func:`~ovseg.config_files.place_of_config`, with or without its ``.py``; or the folder
            of a saved model.
        on: the data set whose published settings are wanted.

    Raises:
        UserError: unknown name.
        FileNotFoundError: there is no such config.
    """
    text = str(model)
    if is_saved_model(text):
        folder = Path(os.path.expanduser(text))
        if on is not None:
            raise UserError(f'{model} is a saved model, which has no settings for --on {on}.')
        return folder.resolve().name, ConfigPlace(folder / CONFIG)
    if not text.endswith('.py'):
        try:
            entry = find_model(text)
        except UserError:
            # The tools take configs without their ending, too. Files of other kinds are no models.
            with contextlib.suppress(FileNotFoundError):
                place = place_of_config(f'{text}.py', on)
                return place.stem, place
            raise
        return entry.name, ConfigPlace(entry.config_path, on or entry.on)
    try:
        place = place_of_config(text, on)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'There is no config {text}: name an existing file, or a model of ovseg.list_models().'
        ) from error
    return place.stem, place


def check_weights(
    config: Path, checkpoint: str | Path | None, option: str = '--checkpoint FILE'
) -> None:
    """Stops where users have to bring the weights of a model and give none.

    Args:
        config: path of the model's config; one that is not of the zoo passes.
        checkpoint: what the user gave.
        option: how the weights are given, with FILE for their name.

    Raises:
        UserError: the file to fetch, from where, and under which licence.
    """
    if checkpoint is not None:
        return
    for entry in ENTRIES:
        if entry.file and entry.config_path.resolve() == config.resolve():
            raise UserError(
                f'ovseg cannot fetch the weights of {entry.name}: get {entry.weights}, and give it '
                f'as {option.replace("FILE", entry.file)}; its licence is {entry.licence}.'
            )
