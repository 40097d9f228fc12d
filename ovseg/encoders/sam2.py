"""SAM 2 from a name, a folder or a file: transformers' own, unmodified classes, for images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ovseg.downloads import fetch_from_hub, fetch_url
from ovseg.encoders.sam2_architecture import PARTS, PUBLISHED, check_same, sam2_config
from ovseg.encoders.sam2_format import from_authors, is_authors
from ovseg.errors import UserError
from ovseg.input_files import cause_of
from ovseg.weight_files import load_strictly, read_state_dict

if TYPE_CHECKING:
    from transformers import Sam2Config, Sam2Model

_HOST = 'https://dl.fbaipublicfiles.com/segment_anything_2/072824'
CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
# What files of the hub call SAM 2, with and without the parts for videos.
_TYPES = ('sam2', 'sam2_video')
# Of the parts for videos, which images do not need.
_OF_VIDEOS = (
    'memory_',
    'mask_downsample.',
    'object_pointer_proj.',
    'temporal_positional_encoding_projection_layer.',
    'no_memory_positional_encoding',
    'no_object_pointer',
    'occlusion_spatial_embedding_parameter',
)


@dataclass(frozen=True)
class LoadedSAM2:
    """A frozen SAM 2 with what belongs to its weights.

    Attributes:
        model: transformers' ``Sam2Model``, in eval mode, without gradients.
        name: of the architecture.
        weights: name of the repository, folder or file, or ``'random'``.
    """

    model: Sam2Model
    name: str
    weights: str


def is_sam2(model: object) -> bool:
    """Whether a setting ``model`` of a SAM names a SAM 2; nothing is opened.

    Args:
        model: as for :func:`load_sam2`, or for :func:`~ovseg.encoders.sam.load_sam`.
    """
    if isinstance(model, Mapping):
        return any(part in model for part in PARTS)
    return isinstance(model, (str, Path)) and (str(model) in PUBLISHED or _is_folder(model))


def load_sam2(
    model: str | Path | Mapping[str, Any],
    pretrained: str | Path | None = None,
    dynamic_multimask_via_stability: bool | None = None,
) -> LoadedSAM2:
    """Returns a SAM 2 with its weights.

    Args:
        model: a name of :data:`~ovseg.encoders.sam2_architecture.PUBLISHED`; a folder with
            ``config.json`` and ``model.safetensors`` as a repository of the hub has them; or the
            fields of a ``config.json``.
        pretrained: None for the weights of the name or folder; a file in the format of the hub or
            of the authors, a folder as above, or ``'random'``, which must be asked for by that
            name.
        dynamic_multimask_via_stability: transformers' field of ``mask_decoder_config``: whether a
            single mask that is unstable gives way to the best of three. None: as the config says,
            where published models do so; CorrCLIP's regions were made without.

    Raises:
        UserError: transformers is missing; an unknown setting; weights that do not fit; or no
            network for the download.
        FileNotFoundError: there is no such file.
    """
    name = model if isinstance(model, str) and model in PUBLISHED else 'custom'
    folder = Path(model) if not isinstance(model, Mapping) and _is_folder(model) else None
    fields: Mapping[str, Any] = {}
    if isinstance(model, Mapping):
        fields = model
    elif folder is None:
        fields = PUBLISHED[str(model)]
    config = sam2_config(fields, 'sam.model') if folder is None else _config_of(folder)
    if folder is not None and pretrained is None:
        pretrained = folder
    if pretrained == 'random':
        return LoadedSAM2(_frozen(_built(config, dynamic_multimask_via_stability)), name, 'random')
    file: str | Path
    if pretrained is None:
        file = _fetched(name)
    elif _is_folder(pretrained):
        config = _config_of(Path(pretrained))
        check_same(fields, config, str(pretrained))
        file = Path(pretrained) / WEIGHTS
    else:
        file = pretrained
    weights = name if pretrained is None else Path(pretrained).name
    state = read_state_dict(file)
    state = from_authors(state) if is_authors(state) else state
    state = {key: value.float() for key, value in state.items() if not key.startswith(_OF_VIDEOS)}
    # Without numbers first: random ones of the largest model take six seconds.
    with torch.device('meta'):
        sam = _built(config, dynamic_multimask_via_stability)
    sam = sam.to_empty(device='cpu')
    load_strictly(sam, state, file)
    return LoadedSAM2(_frozen(sam), name, weights)


def _fetched(name: str) -> Path:
    """The file of published weights."""
    if name == 'custom':
        raise UserError(
            "sam.pretrained must name a file or a folder, or 'random', for a sam.model of yours"
        )
    if '/' in name:
        return fetch_from_hub(name, WEIGHTS, 'sam.pretrained')
    return fetch_url(f'{_HOST}/{name}.pt', 'sam.pretrained')


def _is_folder(path: str | Path) -> bool:
    """Whether a path is a folder with a config."""
    return os.path.isfile(os.path.join(os.path.expanduser(path), CONFIG))


def _config_of(folder: Path) -> Sam2Config:
    path = Path(os.path.expanduser(folder)) / CONFIG
    try:
        fields = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read ({cause_of(error)}); get it again') from error
    kind = fields.get('model_type') if isinstance(fields, Mapping) else None
    if kind not in _TYPES:
        raise UserError(
            f'{path} says model_type {kind!r}, a SAM 2 says {" or ".join(map(repr, _TYPES))}; give '
            'the folder of a SAM 2'
        )
    return sam2_config(fields)


def _built(config: Sam2Config, dynamic_multimask_via_stability: bool | None) -> Sam2Model:
    from transformers import Sam2Model

    if dynamic_multimask_via_stability is not None:
        decoder: Any = config.mask_decoder_config
        decoder.dynamic_multimask_via_stability = dynamic_multimask_via_stability
    return Sam2Model(config)


def _frozen(sam: Sam2Model) -> Sam2Model:
    return sam.eval().requires_grad_(False)
