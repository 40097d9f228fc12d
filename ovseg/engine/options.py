"""Settings of the command line put into a config: each one is read by somebody, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config, ConfigDict

from ovseg.engine.config_parts import TOP_KEYS, Part, class_of, part_at
from ovseg.errors import UserError, nearest
from ovseg.option_values import Options, Wanted
from ovseg.settings import annotation_text, check_value, takes_text

# How near to a known key an unknown one must be where nobody says which there are.
_TYPING_ERROR = 0.8
_MAY_BE_TEXT = re.compile(r'str|Any|Literal|Path|object')
Path = tuple[str, ...]


def apply_options(config: Config, options: Mapping[str, Any]) -> list[str]:
    """Changes a config as ``--cfg-options`` says.

    A key is a place in the config (``model.test_cfg.mode``, ``pipeline.0.type``), or a new setting
    that the class at that place takes. In a list of evaluators a setting goes to those that take
    it, without a position.

    Args:
        config: changed in place.
        options: values by key; of :class:`~ovseg.option_values.Options` the words are read anew by
            what their settings take.

    Returns:
        The keys, with the positions that were found.

    Raises:
        UserError: a key that nothing reads, with the nearest one; a value of another kind than its
            setting takes; a place that is not there.
    """
    paths = {key: list(_placed(config, key)) for key in options}
    for key, places in paths.items():
        for place in places:
            _check_key(config, place, key, options)
    if isinstance(options, Options):
        options.read_as(lambda key: _wanted(config, paths[key][0], options))
    changes = {}
    for key, value in options.items():
        for place in paths[key]:
            _check_kind(config, place, value, options)
            _open_up(config, place)
            changes['.'.join(place)] = value
    try:
        config.merge_from_dict(changes)
    except (KeyError, TypeError, AssertionError) as error:
        text = error.args[0] if error.args else error
        raise UserError(f'--cfg-options do not fit {config.filename}: {text}') from error
    return list(changes)


def _placed(config: Config, key: str) -> Iterator[Path]:
    """The place that a key names, or those of all evaluators that take the setting."""
    path = tuple(key.split('.'))
    evaluators = config.get(path[0]) if path[0].endswith('_evaluator') else None
    if not isinstance(evaluators, (list, tuple)) or len(path) < 2 or path[1].isdigit():
        yield path
        return
    parts = [part_at((path[0], str(i)), one) for i, one in enumerate(evaluators)]
    takers = [i for i, part in enumerate(parts) if path[1] in part.settings]
    if not takers:
        known = [name for part in parts for name in part.settings]
        names = ' and '.join(part.name for part in parts)
        raise UserError(
            f"--cfg-options names '{key}', but {names} have no setting '{path[1]}'."
            + nearest(path[1], known)
        )
    for index in takers:
        yield (path[0], str(index), *path[1:])


def _walk(
    config: Config, path: Path, options: Mapping[str, Any]
) -> Iterator[tuple[Path, Any, Any]]:
    """Place, value and class of the dict above, down a path as far as there is something."""
    node, above = config._cfg_dict, None
    for depth in range(len(path)):
        yield path[:depth], node, above
        if isinstance(node, Mapping):
            above = class_of(_type_at(path[:depth], node, options)) if depth else None
            node = node.get(path[depth])
            node = {} if node is None else node  # nothing is there yet
        elif isinstance(node, (list, tuple)) and path[depth].lstrip('-').isdigit():
            position = int(path[depth])
            node = node[position] if -len(node) <= position < len(node) else None
        else:
            return


def _type_at(path: Path, node: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    return options.get('.'.join((*path, 'type')), node.get('type'))


def _part(path: Path, node: Mapping[str, Any], above: Any, options: Mapping[str, Any]) -> Part:
    return part_at(path, {**node, 'type': _type_at(path, node, options)}, above)


def _check_key(config: Config, path: Path, key: str, options: Mapping[str, Any]) -> None:
    for place, node, above in _walk(config, path, options):
        name = path[len(place)]
        if isinstance(node, (list, tuple)):
            if name.lstrip('-').isdigit():
                continue
            where = '.'.join(place)
            raise UserError(
                f"--cfg-options names '{key}', but {where} is a list: name a position in it, such "
                f'as {where}.0.{name}'
            )
        if not isinstance(node, Mapping):
            return
        if name in node:
            if not place:
                _check_is_read(config, name)
            continue
        part = _part(place, node, above, options)
        if name in part.settings:
            continue
        if not place:
            _refuse_top(config, name, key, part)
        is_typing_error = get_close_matches(name, list(node), n=1, cutoff=_TYPING_ERROR)
        if part.is_open and not is_typing_error:
            return
        hint = nearest(name, part.settings)
        if class_of(node.get('type')) is not None and not hint:
            return  # building the class says so, too
        where = '.'.join(place)
        given = where if where == part.name else f'{part.name} ({where})'
        raise UserError(
            f"--cfg-options gives {given} a setting '{name}' that it does not have.{hint}"
        )


def _refuse_top(config: Config, name: str, key: str, part: Part) -> None:
    if name == 'device':
        raise UserError(
            f"--cfg-options names '{key}', but a run takes the first GPU that torch sees, else "
            'the CPU: set CUDA_VISIBLE_DEVICES to choose one, or to nothing for the CPU'
        )
    hint = nearest(name, part.settings)
    deeper = [place for place in _places(config) if place.rpartition('.')[2] == name]
    if deeper:
        hint = f" Did you mean '{min(deeper, key=len)}'?"
    raise UserError(f"--cfg-options names '{key}', but the config has no '{name}'.{hint}")


def _check_is_read(config: Config, name: str) -> None:
    """Stops at a name that config files use while they are read: a change would come too late."""
    value = config[name]
    if name in TOP_KEYS or name in part_at((), {}).settings:
        return
    used = [
        place
        for place, other in _places(config).items()
        if '.' in place
        and type(other) is type(value)
        and other == value
        and (_is_telling(value) or place.rpartition('.')[2] == name)
    ]
    if used:
        first = min(used, key=lambda place: (place.rpartition('.')[2] != name, len(place)))
        raise UserError(
            f"--cfg-options names '{name}', which {config.filename} uses while it is read, so a "
            f'change of it comes too late: set {first} instead'
        )


def _is_telling(value: Any) -> bool:
    """Whether a value found twice is hardly found twice by chance."""
    return isinstance(value, (str, list, tuple, dict)) and len(value) > 1


def _places(config: Config) -> dict[str, Any]:
    """Values of a config by their places, dicts and lists too."""
    found: dict[str, Any] = {}

    def look(value: Any, path: Path) -> None:
        if path:
            found['.'.join(path)] = value
        if isinstance(value, Mapping):
            for key, inner in value.items():
                look(inner, (*path, str(key)))
        elif isinstance(value, (list, tuple)):
            for position, inner in enumerate(value):
                look(inner, (*path, str(position)))

    look(config._cfg_dict, ())
    return found


def _annotation(config: Config, path: Path, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Annotation and present value of a setting; empty and None where there are none."""
    place, node, above = list(_walk(config, path, options))[-1]
    if not isinstance(node, Mapping) or len(place) + 1 != len(path):
        return '', None
    part = _part(place, node, above, options)
    return part.settings.get(path[-1], ''), node.get(path[-1])


def _wanted(config: Config, path: Path, options: Mapping[str, Any]) -> Wanted:
    annotation, present = _annotation(config, path, options)
    found = takes_text(annotation)
    if found == 'any' and isinstance(present, str) and not _is_said(annotation):
        return 'text or other'
    return found


def _is_said(annotation: Any) -> bool:
    return annotation_text(annotation) not in ('', 'Any')


def _check_kind(config: Config, path: Path, value: Any, options: Mapping[str, Any]) -> None:
    if value is None:
        return  # not set, whatever is taken else
    annotation, present = _annotation(config, path, options)
    where = '--cfg-options: ' + '.'.join(path)
    check_value(value, annotation, where)
    is_number = isinstance(present, (int, float)) and not isinstance(present, bool)
    may_be_text = _MAY_BE_TEXT.search(annotation_text(annotation))
    if is_number and isinstance(value, str) and not may_be_text:
        raise UserError(f'{where} is {value!r}, but the config has a number ({present}) there')


def _open_up(config: Config, path: Path) -> None:
    """Makes a dict of each None on the way to a setting."""
    node: Any = config._cfg_dict
    for key in path[:-1]:
        if isinstance(node, (list, tuple)):
            position = int(key)
            if not -len(node) <= position < len(node):
                return
            node = node[position]
            continue
        if not isinstance(node, Mapping):
            return
        if key in node and node[key] is None:
            node[key] = ConfigDict()  # type: ignore[index]
        node = node.get(key)
