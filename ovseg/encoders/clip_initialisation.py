"""Trained towers start from CLIP: its weights under OpenAI's names, and how a tower takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ovseg.encoders.clip import load_clip
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError
from ovseg.weight_files import describe_mismatch, find_weights, read_state_dict

Pretrained = str | Path | Mapping[str, Any]

_VISUAL = 'visual.'
_POSITIONS = ('positional_embedding', 'attnpool.positional_embedding')
_TEXT = ('transformer.', 'token_embedding.', 'ln_final.')
_TEXT_POSITIONS = 'positional_embedding'
_TEXT_PROJECTION = 'text_projection'
# Counters of batch norm; with its fixed momentum nothing reads them. Older archives have none.
_COUNTER = 'num_batches_tracked'
# The weights read last, between the backbone's request and the text encoder's.
_kept: dict[tuple[Any, ...], dict[str, Tensor]] = {}


def clip_state(pretrained: Pretrained, keep: bool = True) -> dict[str, Tensor]:
    """Returns the weights of both towers of a CLIP.

    Args:
        pretrained: a file (OpenAI's TorchScript archive, safetensors or ``torch.save``), or the
            arguments of :func:`~ovseg.encoders.load_clip` as a mapping, such as
            ``dict(model='RN50-quickgelu', pretrained='openai')``.
        keep: whether another tower will ask for the same weights. They are held until that second
            request, which gets them without reading and releases them.

    Returns:
        Tensors by OpenAI's names (``visual.`` before those of the vision tower), float32.

    Raises:
        UserError: the weights are not a CLIP's.
        FileNotFoundError: there is no such file.
    """
    key = _identity(pretrained)
    if key in _kept:
        return _kept.pop(key)
    _kept.clear()
    if isinstance(pretrained, Mapping):
        try:
            state = load_clip(**pretrained).model.state_dict()
        except TypeError as error:
            raise UserError(
                f'pretrained={dict(pretrained)} are not arguments of load_clip: {error}'
            ) from error
    else:
        state = read_state_dict(pretrained)
    if not any(name.startswith(_VISUAL) for name in state):
        raise UserError(
            f"pretrained={_shown(pretrained)} holds no CLIP: no key begins with '{_VISUAL}'; "
            'a trained model belongs into load_from'
        )
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in state.items()
    }
    if keep:
        _kept[key] = dict(state)
    return state


def text_encoder_state(state: Mapping[str, Tensor], context_length: int) -> dict[str, Tensor]:
    """The text tower's part of CLIP's weights, for fewer tokens.

    Args:
        state: of :func:`clip_state`.
        context_length: tokens of a sentence, the learned contexts included; the position table
            keeps its first rows.

    Raises:
        UserError: CLIP's position table is shorter, or its text tower has other names.
    """
    text = {name: value for name, value in state.items() if name.startswith(_TEXT)}
    for name in (_TEXT_PROJECTION, _TEXT_POSITIONS):
        if name not in state:
            raise UserError(
                f"pretrained weights have no '{name}' and so no text tower of CLIP; "
                'choose an OpenAI or open_clip CLIP model'
            )
        text[name] = state[name]
    rows = len(text[_TEXT_POSITIONS])
    if rows < context_length:
        raise UserError(
            f'text_encoder.context_length={context_length} is more than the {rows} positions of '
            'the pretrained text tower; shorten it'
        )
    text[_TEXT_POSITIONS] = text[_TEXT_POSITIONS][:context_length]
    return text


def load_vision_tower(
    tower: nn.Module,
    pretrained: Pretrained,
    may_stay_random: tuple[str, ...] = (),
    may_be_dropped: tuple[str, ...] = (),
    keep: bool = True,
) -> None:
    """Loads CLIP's vision tower; its position table is resized to the tower's.

    Args:
        tower: receives the weights; its names are CLIP's without ``visual.``.
        pretrained: see :func:`clip_state`.
        may_stay_random: how names of the tower begin that CLIP does not have.
        may_be_dropped: how names of CLIP begin that the tower does not have.
        keep: see :func:`clip_state`.

    Raises:
        UserError: anything else is missing, left over or of another shape.
    """
    own = tower.state_dict()
    state = {
        name.removeprefix(_VISUAL): value
        for name, value in clip_state(pretrained, keep).items()
        if name.startswith(_VISUAL)
    }
    for name in _POSITIONS:
        if name in own and name in state:
            state[name] = resize_table(state[name], _side(own[name]))
    load_tower(tower, state, pretrained, may_stay_random, may_be_dropped)


def load_tower(
    tower: nn.Module,
    state: Mapping[str, Tensor],
    pretrained: Pretrained,
    may_stay_random: tuple[str, ...] = (),
    may_be_dropped: tuple[str, ...] = (),
) -> None:
    """Loads weights under the tower's own names; nothing is left out without being allowed.

    Args:
        tower: receives the weights.
        state: tensors by name.
        pretrained: where they come from, for the message.
        may_stay_random: see :func:`load_vision_tower`.
        may_be_dropped: see :func:`load_vision_tower`.

    Raises:
        UserError: names what is missing, left over or of another shape.
    """
    own = tower.state_dict()
    missing, unexpected = unmatched(own, state)
    given = {name: value for name, value in state.items() if name in own}
    left_over = {name: state[name] for name in unexpected if not name.startswith(may_be_dropped)}
    needed = {
        name: value
        for name, value in own.items()
        if name in given or (name in missing and not name.startswith(may_stay_random))
    }
    if problems := describe_mismatch(needed, {**given, **left_over}):
        raise UserError(
            f'pretrained={_shown(pretrained)} does not fit this {type(tower).__name__}: '
            f'{problems}; check its layers, width and output_dim'
        )
    tower.load_state_dict(given, strict=False)


def unmatched(own: Iterable[str], given: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names that only a tower has, and names that only its weights have.

    Args:
        own: names of the tower; counters of batch norm are left out.
        given: names of the weights.

    Example:
        >>> unmatched(['a', 'fpn1.0.weight'], ['a', 'proj'])
        (['fpn1.0.weight'], ['proj'])
    """
    own, given = list(own), list(given)
    return (
        [name for name in own if name not in set(given) and not name.endswith(_COUNTER)],
        [name for name in given if name not in set(own)],
    )


def resize_table(table: Tensor, side: int) -> Tensor:
    """A square position table for another square: (1 + r*r, C) -> (1 + side*side, C).

    Args:
        table: class or mean token first.
        side: bilinear, align_corners False; the first row is kept.

    Raises:
        UserError: the table is not square.
    """
    trained = _side(table)
    return resize_position_embedding(table, (trained,) * 2, (side,) * 2, 'always', 'bilinear')


def _side(table: Tensor) -> int:
    side = math.isqrt(len(table) - 1)
    if side * side + 1 != len(table):
        raise UserError(
            f'pretrained position table of {len(table)} rows is not one token and a square of '
            'positions; choose a CLIP trained on square images'
        )
    return side


def _identity(pretrained: Pretrained) -> tuple[Any, ...]:
    """What makes two requests the same: a file that was written anew is another one."""
    if isinstance(pretrained, Mapping):
        return tuple(sorted((name, repr(value)) for name, value in pretrained.items()))
    path = find_weights(pretrained)
    facts = path.stat()
    return (str(path.resolve()), facts.st_mtime_ns, facts.st_size)


def _shown(pretrained: Pretrained) -> str:
    return str(dict(pretrained)) if isinstance(pretrained, Mapping) else f"'{pretrained}'"
