"""Files of a CLIP that was adapted to masked regions: its image tower, its mask prompts, or both.

The text tower is locked in adaptation, so files need not hold it; a checksum tells whether the CLIP
at hand is the one that was adapted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.weight_files import describe_mismatch, load_strictly, read_state_dict

Adapted = Literal['image_tower', 'mask_prompts']

CHECKSUM = 'frozen_clip_checksum'
PROMPTS = 'visual.mask_embedding'
_VISUAL = 'visual.'
_SCALE = 'logit_scale'
_CLIP = 'clip.'
_INSIDE_OVSEG = 'clip_adapter.clip_model.'


@dataclass(frozen=True)
class AdaptedCLIP:
    """What a file says of a CLIP.

    Attributes:
        state: tensors under OpenAI's names, as the file has them; the checksum is not among them.
        checksum: of what was frozen, see :func:`frozen_checksum`; None if the file has none.
        origin: the file, for messages.
    """

    state: dict[str, Tensor]
    checksum: Tensor | None
    origin: str

    @classmethod
    def read(cls, path: str | Path) -> AdaptedCLIP:
        """Reads a checkpoint of ``MaskAdaptation``, or a CLIP in open_clip's format.

        Args:
            path: see :func:`~ovseg.weight_files.find_weights`.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: no checkpoint, or one without any of the image tower.
        """
        given = read_state_dict(path)
        state = {name.removeprefix(_CLIP): value for name, value in given.items()}
        checksum = state.pop(CHECKSUM, None)
        if not any(name.startswith(_VISUAL) for name in state):
            raise UserError(f'{path} holds no image tower; give a CLIP adapted to masked regions')
        return cls(state, checksum, str(path))

    @property
    def has_tower(self) -> bool:
        """Whether it has more of the image tower than mask prompts."""
        return any(name.startswith(_VISUAL) and name != PROMPTS for name in self.state)

    @property
    def has_prompts(self) -> bool:
        """Whether it has mask prompts."""
        return PROMPTS in self.state

    def without_prompts(self) -> AdaptedCLIP:
        """The same without mask prompts."""
        kept = {name: value for name, value in self.state.items() if name != PROMPTS}
        return replace(self, state=kept)

    def put_into(self, clip: nn.Module) -> None:
        """Replaces what the file has in a CLIP.

        Args:
            clip: as :func:`~ovseg.encoders.load_clip` returns it, its image tower possibly a
                :class:`~ovseg.encoders.mask_prompted_vit.MaskPromptedViT`.

        Raises:
            UserError: another CLIP was adapted, or weights that do not fit.
        """
        own = clip.state_dict()
        adapted: Adapted = 'image_tower' if self.has_tower else 'mask_prompts'
        locked = {name: value for name, value in own.items() if is_frozen(name, adapted)}
        same = all(
            torch.equal(value.to(locked[name]), locked[name])
            for name, value in self.state.items()
            if name in locked
        )
        if not same or self.checksum not in (None, frozen_checksum(own.items(), adapted)):
            part = 'text tower' if self.has_tower else 'tower'
            raise UserError(
                f'{self.origin} has another {part} than the CLIP of the config; name the CLIP '
                'that was adapted'
            )
        state = {**locked, **self.state}
        for name in (PROMPTS, _SCALE):
            if name in own:
                state.setdefault(name, own[name])
        load_strictly(clip, state, self.origin)


def is_frozen(name: str, adapted: Adapted) -> bool:
    """Whether a weight of CLIP stays as it is while a part of it is adapted.

    Args:
        name: under OpenAI's names.
        adapted: the part.
    """
    learns = name.startswith(_VISUAL) if adapted == 'image_tower' else name == PROMPTS
    return not learns and name != _SCALE


def frozen_checksum(named: Iterable[tuple[str, Tensor]], adapted: Adapted) -> Tensor:
    """A number that tells apart the CLIPs that a part can be adapted for.

    Args:
        named: weights of CLIP under OpenAI's names, in any order.
        adapted: the part, whose own weights do not count.
    """
    total = 0
    for name, value in sorted(named, key=lambda item: item[0]):
        if is_frozen(name, adapted):
            total = crc32(value.detach().cpu().contiguous().numpy().tobytes(), total)
    return torch.tensor(total)


def image_tower(clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower of a CLIP, content of a file of its own, with the checksum of the rest.

    Args:
        clip: state dict under OpenAI's names.
    """
    tower = {name: value for name, value in clip.items() if not is_frozen(name, 'image_tower')}
    return {**tower, CHECKSUM: frozen_checksum(clip.items(), 'image_tower')}


def put_into_ovseg(ovseg: Mapping[str, Any], state: Mapping[str, Tensor], path: str | Path) -> None:
    """Replaces the CLIP of an OVSeg checkpoint.

    Args:
        ovseg: content of the checkpoint; its state dict is changed in place, so that it keeps the
            version that detectron2 looks for.
        state: the whole CLIP under OpenAI's names, with mask prompts or without.
        path: of the checkpoint, for messages.

    Raises:
        UserError: no OVSeg checkpoint, or one with another CLIP.
    """
    model = ovseg.get('model')
    if not isinstance(model, MutableMapping):
        raise UserError(f"{path} has no 'model'; give a checkpoint of OVSeg, as released")
    start = _INSIDE_OVSEG
    own = {key.removeprefix(start): value for key, value in model.items() if key.startswith(start)}
    # A checkpoint of the baseline has no prompts yet.
    compared = {key: value for key, value in own.items() if key != PROMPTS or key in state}
    given = {key: value for key, value in state.items() if key != PROMPTS or key in own}
    if problems := describe_mismatch(compared, given):
        raise UserError(f'the CLIP in {path} is another one: {problems}; check that both are one')
    for key, value in state.items():
        model[start + key] = value
