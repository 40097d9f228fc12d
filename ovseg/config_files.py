"""Config files by name, and the data set that one is read for.

A config stands for a method and its backbone. The data set is chosen by name: its files write
``'../datasets/{{$OVSEG_ON:voc20}}.py'`` among their bases, where mmengine puts the environment
variable, or else the first data set. ``--on`` of the tools and ``on=`` in Python set it while a
config is read and at no other time; what is read is complete, so a copy needs no variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ovseg
from ovseg.errors import UserError, nearest
from ovseg.input_files import cause_of
from ovseg.saved_config import CONFIG, read_saved_config

if TYPE_CHECKING:
    from mmengine.config import Config

ON = 'OVSEG_ON'
# What reading a file raises that is cut off, nested without end, or no text.
_OF_A_FILE = (OSError, ValueError, RecursionError, MemoryError)
# Two published trainings have one table now, which says the decoder of each data set.
_RENAMED = re.compile(r'_deeplabv(2|3plus)-r101(?=_zero-shot)')


@dataclass(frozen=True)
class ConfigPlace:
    """Where a config is, and the data set that its name asks for.

    Attributes:
        path: of the file.
        on: the data set; None: the first one of the file.
    """

    path: Path
    on: str | None = None

    @property
    def stem(self) -> str:
        """What to call it: the file's name, with the data set if one is chosen."""
        return f'{self.path.stem}_{self.on}' if self.on else self.path.stem


def read_config(
    name: str | os.PathLike[str], on: str | None = None, import_modules: bool = True
) -> Config:
    """The complete config of a name on a data set.

    Args:
        name: as for :func:`place_of_config`, or the ``ovseg.json`` of a saved model.
        on: the data set; None for what the name says, else the first one.
        import_modules: import its ``custom_imports``, as everything does that builds from it.

    Raises:
        FileNotFoundError: there is no such config; names the nearest one.
        UserError: the config cannot be read, or has no settings for the data set.
    """
    if os.path.basename(name) == CONFIG:
        return read_saved_config(Path(name))
    place = place_of_config(name, on)
    wanted = place.on or os.environ.get(ON)
    try:
        config = _read(place, import_modules)
    except SyntaxError as error:
        raise UserError(f'config {place.path} is not valid Python: {error}') from error
    except FileNotFoundError as error:
        raise (_moved_base(place, error) or _not_on(place, wanted) or error) from error
    except UserError:
        raise
    except Exception as error:
        other = _not_on(place, wanted)
        if other is None and place.path.suffix == '.py' and not isinstance(error, _OF_A_FILE):
            raise  # a fault of the Python in it is told as it is
        raise other or UserError(
            f'config {place.path} cannot be read ({cause_of(error)}); mend it or get it again'
        ) from error
    if place.on and config.get('on') != place.on:
        fixed = f'is for {config.on} alone' if 'on' in config else 'names no data set'
        raise _not_on(place, place.on) or UserError(
            f'{place.path} {fixed}, so there is no --on {place.on}.'
        )
    if 'on_choices' in config and config.on not in config.on_choices:
        raise _not_on(place, config.on) or UserError(f'{place.path} has no {config.on}.')
    return config


def place_of_config(name: str | os.PathLike[str], on: str | None = None) -> ConfigPlace:
    """Where the config of a name is.

    Args:
        name: a path, from here or below ``configs/``, with or without ``.py``; or the file's name
            alone. A data set may follow it, which is how files were called when each had one:
            ``trident_vit-b16_openai_ade20k`` is ``trident_vit-b16_openai.py`` on ``ade20k``.
        on: the data set.

    Raises:
        FileNotFoundError: there is none; names the nearest one.
        UserError: the name and ``on`` name two data sets.
    """
    name = os.fspath(name)
    found = _file_of(name)
    if found is not None:
        return ConfigPlace(found, on)
    place = _named_with_data_set(name)
    if place is None:
        known = _known()
        relative = name.removeprefix('configs/')
        by_stem = {Path(one).stem for one in known}
        hint = nearest(Path(name).stem, by_stem)
        if '/' in relative:  # a path is like a path, a name like a name
            hint = nearest(relative, known) or hint
        raise FileNotFoundError(
            f'config {name} does not exist, neither here nor in configs/.{hint}'
        )
    if on not in (None, place.on):
        raise UserError(f'{name} is {place.path.name} on {place.on}, but --on says {on}.')
    return place


def find_config(name: str | os.PathLike[str]) -> Path:
    """The file of a config; see :func:`place_of_config`."""
    return place_of_config(name).path


def config_folders() -> list[Path]:
    """Where ovseg's own configs are: beside the package in a checkout, inside it once installed."""
    package = Path(ovseg.__file__).parent
    folders = (package.parent / 'configs', package / '.mim' / 'configs')
    return [folder for folder in folders if os.path.isdir(folder)]


def _file_of(name: str) -> Path | None:
    path = Path(os.path.expanduser(name))
    if os.path.isfile(path):
        return path
    relative = name.removeprefix('configs/')
    for folder in config_folders():
        for candidate in (folder / relative, folder / f'{relative}.py'):
            if os.path.isfile(candidate):
                return candidate
    if os.sep not in name:
        by_stem = {Path(one).stem: path for one, path in _known().items()}
        return by_stem.get(path.name.removesuffix('.py'))
    return None


def _named_with_data_set(name: str) -> ConfigPlace | None:
    """The longest beginning of a name that is a config's, if a data set follows."""
    path = Path(_RENAMED.sub('', name))
    words = path.name.removesuffix('.py').split('_')
    for count in range(len(words) - 1, 0, -1):
        found = _file_of(str(path.with_name('_'.join(words[:count]) + '.py')))
        if found is not None:
            on = '_'.join(words[count:])
            files = (folder / '_base_' / 'datasets' / f'{on}.py' for folder in config_folders())
            return ConfigPlace(found, on) if any(map(os.path.isfile, files)) else None
    return None


def _known() -> dict[str, Path]:
    """Ovseg's own configs by their path below ``configs/``."""
    return {
        str(found.relative_to(folder)): found
        for folder in config_folders()
        for found in sorted(folder.rglob('*.py'))
        if '_base_' not in found.parts
    }


def _read(place: ConfigPlace, import_modules: bool = True) -> Config:
    # Here, for a name that no config has is answered without mmengine.
    from mmengine.config import Config

    from ovseg.compat import plain_yaml

    plain_yaml.install()
    with _on_data_set(place.on):
        return Config.fromfile(str(place.path), import_custom_modules=import_modules)


@contextmanager
def _on_data_set(on: str | None) -> Iterator[None]:
    """Sets the variable that mmengine reads, without the line that it logs about that."""
    from mmengine.config import config as reader

    from ovseg.compat.quiet_imports import without_lines

    before = os.environ.get(ON)
    try:
        if on is not None:
            os.environ[ON] = on
        with without_lines(reader, lambda line: f'`{ON}`' in line):
            yield
    finally:
        if on is not None and before is None:
            del os.environ[ON]
        elif before is not None:
            os.environ[ON] = before


def _not_on(place: ConfigPlace, on: str | None) -> UserError | None:
    """What to say of a data set that a config has no settings for; None: the trouble is another."""
    if on is None:
        return None
    before = os.environ.pop(ON, None)
    try:
        config = _read(ConfigPlace(place.path))
    except Exception:
        return None
    finally:
        if before is not None:
            os.environ[ON] = before
    choices = config.get('on_choices')
    if choices is None or on in choices:
        return None
    return UserError(
        f'{place.path} has no settings for {on!r}: it is for {", ".join(choices)} '
        f'(--on, or the variable {ON}).' + nearest(on, choices)
    )


def _moved_base(place: ConfigPlace, error: FileNotFoundError) -> UserError | None:
    """What to say of a config whose base has another name today; None: the trouble is another."""
    said = re.search(r'file "(.+)" does not exist', str(error))
    missing = error.filename or (said[1] if said else None)
    new = _named_with_data_set(missing) if missing else None
    if new is None or new.path == place.path:
        return None
    return UserError(
        f'The config {place.path} builds on {missing}, which is {new.path.name} on {new.on} '
        f'today: write _base_ = {str(new.path)!r}, and use it with --on {new.on}.'
    )
