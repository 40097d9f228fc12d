"""SAM 2 of any size, by the classes of transformers; the sizes that were published."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError, nearest
from ovseg.extras import of_extra

if TYPE_CHECKING:
    from transformers import Sam2Config

PARTS = ('vision_config', 'prompt_encoder_config', 'mask_decoder_config')
_BACKBONE = 'backbone_config'
# What a config of the hub says beside the settings of the part.
_KINDS = ('model_type', 'architectures', 'dtype', 'torch_dtype', 'transformers_version')


def _published(
    widths: list[int], heads: list[int], blocks: list[int], whole: list[int], **others: Any
) -> dict[str, Any]:
    """The image encoder of a published SAM 2.1.

    Args:
        widths: channels of each stage.
        heads: of each stage.
        blocks: how many each stage has.
        whole: the blocks that see the whole frame.
        others: what differs from the smallest ones.
    """
    backbone = {
        'hidden_size': widths[0],
        'num_attention_heads': heads[0],
        'embed_dim_per_stage': widths,
        'num_attention_heads_per_stage': heads,
        'blocks_per_stage': blocks,
        'global_attention_blocks': whole,
        **others,
    }
    return {'vision_config': {_BACKBONE: backbone, 'backbone_channel_list': widths[::-1]}}


_SMALL = ([96, 192, 384, 768], [1, 2, 4, 8])
_SIZES = {
    'tiny': _published(*_SMALL, [1, 2, 7, 2], [5, 7, 9]),
    'small': _published(*_SMALL, [1, 2, 11, 2], [7, 10, 13]),
    'base-plus': _published(
        [112, 224, 448, 896],
        [2, 4, 8, 16],
        [2, 3, 16, 3],
        [12, 16, 20],
        window_positional_embedding_background_size=[14, 14],
    ),
    'large': _published(
        [144, 288, 576, 1152],
        [2, 4, 8, 16],
        [2, 6, 36, 4],
        [23, 33, 43],
        window_size_per_stage=[8, 4, 16, 8],
    ),
}
# SAM 2.1: repositories of the hub. SAM 2, first weights of the same networks: files of the authors.
PUBLISHED: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        **{f'facebook/sam2.1-hiera-{size}': fields for size, fields in _SIZES.items()},
        **{f'sam2_hiera_{size.replace("-", "_")}': fields for size, fields in _SIZES.items()},
    }
)


def sam2_config(fields: Mapping[str, Any], where: str | None = None) -> Sam2Config:
    """The config of a SAM 2 for images, without the parts for videos.

    Args:
        fields: :data:`PARTS`, as a ``config.json`` of the hub has them; what is left out is as in
            SAM 2.1's smallest one.
        where: the setting that holds the fields: names that transformers does not know are refused
            then. None for a file, which may say more than is needed.

    Raises:
        UserError: transformers is missing, or has no such settings.
    """
    with of_extra('transformers', 'SAM 2 is run by transformers'):
        from transformers import Sam2Config
    plain: dict[str, Any] = {
        name: _plain(fields[name]) for name in PARTS if fields.get(name) is not None
    }
    # SAM 2's own classes, whatever a file calls them: nothing else is built from it.
    vision = plain.setdefault(PARTS[0], {})
    vision['model_type'] = 'sam2_vision_model'
    vision.setdefault(_BACKBONE, {})['model_type'] = 'sam2_hiera_det_model'
    for name in fields if where is not None else ():
        if name not in PARTS and name not in _KINDS:
            raise UserError(
                f"{where} has no setting '{name}' (known: {', '.join(PARTS)})."
                f'{nearest(name, PARTS)}'
            )
    try:
        config = Sam2Config(**plain)
    except Exception as error:  # transformers has errors of its own for a wrong value
        raise UserError(f'{where or "the config"} fits no SAM 2: {_first_line(error)}') from error
    if where is not None:
        known = Sam2Config()
        for name, part in plain.items():
            _check_names(part, getattr(known, name), f'{where}.{name}')
    return config


def check_same(fields: Mapping[str, Any], found: Any, origin: str, where: str = '') -> None:
    """Stops where a file holds another architecture than the one that was asked for.

    Args:
        fields: that were asked for.
        found: the config of the file.
        origin: the file, for the message.
        where: the part, for the message.

    Raises:
        UserError: names the first setting that differs.
    """
    for name, wanted in fields.items():
        if name in _KINDS:
            continue
        held = getattr(found, name, None)
        if isinstance(wanted, Mapping):
            check_same(wanted, held, origin, f'{where}{name}.')
        elif _as_list(held) != _as_list(wanted):
            raise UserError(
                f'{origin} holds a SAM 2 with {where}{name} {held}, the config asks for {wanted}; '
                'set sam.model to the model that it holds, or to its folder'
            )


def _as_list(value: Any) -> Any:
    return [_as_list(item) for item in value] if isinstance(value, (list, tuple)) else value


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a part, those of a part in it too, without what else a file says of it.

    Args:
        part: stays as it is; transformers changes what it is given.
    """
    return {
        name: _plain(value) if isinstance(value, Mapping) else value
        for name, value in part.items()
        if name not in _KINDS
    }


def _check_names(fields: Mapping[str, Any], known: Any, where: str) -> None:
    names = known.to_dict()
    for name, value in fields.items():
        if name not in names:
            raise UserError(f"{where} has no setting '{name}'.{nearest(name, names)}")
        if isinstance(value, Mapping):
            _check_names(value, getattr(known, name), f'{where}.{name}')


def _first_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__
