"""What identifies a text model: weights, structure, and what its tokenizer makes of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.torch_modes import parts_below

# Towers and numbers of a CLIP model that have no part in its raw text encoding.
_NOT_TEXT = ('visual.', 'text_decoder.', 'logit_scale', 'logit_bias')
# Settings of open_clip's text towers that no parameter and no module's repr shows.
_SETTINGS = ('context_length', 'text_pool_type', 'text_eos_id', 'pool_type', 'eos_id', 'pad_id')
# Cases in which tokenizers differ: case, accents, scripts, punctuation, entities, digits, blanks.
_PROBES = (
    'a photo of a Red STAR.',
    'naïve café, 北京 & Ünïcode',
    "the dog's  bone; 3.14 #tag {x} _y_ &amp; <b>",
    ' '.join(['word'] * 100),
)


def text_state(clip: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and values of all parameters and buffers that the text encoding depends on."""
    for name, value in clip.state_dict(keep_vars=True).items():
        if not name.startswith(_NOT_TEXT):
            yield name, value.detach()


@dataclass(frozen=True)
class WeightsIdentity:
    """What identifies a text tower's weights and structure.

    Attributes:
        fingerprint: 32 hexadecimal digits, for everyone to read.
        secret: 16 bytes that only who has the weights can know; the fingerprint does not tell them.
    """

    fingerprint: str
    secret: bytes


def weights_identity(clip: nn.Module) -> WeightsIdentity:
    """Hashes of the text tower's weights and structure, the same on every device.

    The vision tower does not enter. The activation does (it is in the modules' names), as
    QuickGELU and GELU give one set of weights two meanings.

    Args:
        clip: an open_clip CLIP, CustomTextCLIP or anything with ``encode_text``.
    """
    digest = blake2b(digest_size=16)
    for name, module in clip.named_modules():
        if not f'{name}.'.startswith(_NOT_TEXT):
            digest.update(f'{name}:{type(module).__qualname__}({module.extra_repr()})'.encode())
    for owner in (clip, getattr(clip, 'text', None)):
        settings = {key: repr(getattr(owner, key, None)) for key in _SETTINGS}
        digest.update(repr(settings).encode())
    for name, value in text_state(clip):
        digest.update(f'{name}:{tuple(value.shape)}:{value.dtype}'.encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    secret = digest.copy()
    secret.update(b'secret of text encodings')
    return WeightsIdentity(digest.hexdigest(), secret.digest())


def weights_stamp(clip: nn.Module) -> tuple[tuple[int, int], ...]:
    """Cheap mark that changes when a weight is replaced or written in place.

    It is asked for at every image, so it walks the text side only and makes no ``state_dict``.
    """
    return tuple((value.data_ptr(), version_of(value)) for value in _text_tensors(clip))


def weights_written(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Cheap mark of all parameters that changes when one is replaced or written in place.

    Another device or precision leaves it as it is. For ViT-B/16 it takes a quarter of a
    millisecond.

    Args:
        model: whose parameters; as long as it lives no other model has this mark.
    """
    return tuple(
        (id(value), version_of(value))
        for part in parts_below(model)
        for value in part._parameters.values()
        if value is not None
    )


def _text_tensors(clip: nn.Module) -> Iterator[Tensor]:
    """The tensors of :func:`text_state`, and buffers that a ``state_dict`` leaves out."""
    own = {**clip._parameters, **clip._buffers}
    yield from (
        value for name, value in own.items() if value is not None and not name.startswith(_NOT_TEXT)
    )
    for name, child in clip.named_children():
        if not f'{name}.'.startswith(_NOT_TEXT):
            for part in parts_below(child):
                yield from (value for value in part._parameters.values() if value is not None)
                yield from (value for value in part._buffers.values() if value is not None)


def tokenizer_fingerprint(tokenizer: Any, context_length: int, cleaning: str = '') -> str:
    """Hash of a tokenizer's behaviour on probe sentences, and of the context length.

    Args:
        tokenizer: maps a list of strings to tokens.
        context_length: of the text model.
        cleaning: what it does to sentences first; '' where the probes tell all of it.
    """
    digest = blake2b(digest_size=8)
    digest.update(f'{type(tokenizer).__qualname__}:{context_length}{cleaning}'.encode())
    digest.update(repr(tokenizer(list(_PROBES)).tolist()).encode())
    return digest.hexdigest()


def version_of(value: Tensor) -> int:
    """How often a tensor was written in place."""
    # Tensors made under inference_mode count no versions; nothing trains them either.
    return 0 if value.is_inference() else value._version
