"""The checkpoint format of the published MaskCLIP+: key names both ways.

A published file has the student's ``backbone.*`` and ``decode_head.decode_module.*``, the fixed
``decode_head.text_embeddings``, the learned ``decode_head.bg_embeddings`` if there is one, the
iteration count ``decode_head._iter_counter``, and a copy of the frozen CLIP under
``decode_head.clip.*`` with its projections beside it (``decode_head.proj`` or
``decode_head.{q,k,v,c}_proj``). Ours keeps the teacher apart and does not save it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ovseg.encoders.maskclip_format import from_maskclip, to_maskclip

_COUNTER = 'decode_head._iter_counter'
_PROJECTIONS = tuple(f'decode_head.{name}_proj.' for name in 'qkvc') + ('decode_head.proj.',)


def from_maskclip_plus(state: Mapping[str, Tensor], teacher: str | None) -> dict[str, Tensor]:
    """Our keys for a published state dict; a state dict of ours passes as it is.

    Args:
        state: tensors by name.
        teacher: prefix of the teacher's CLIP in our model, such as ``'teacher.clip.'``; None
            leaves the frozen CLIP of the file out.

    Raises:
        UserError: a key of the frozen CLIP that the format does not have.
    """
    if _COUNTER not in state:
        return dict(state)
    ours: dict[str, Tensor] = {}
    frozen: dict[str, Tensor] = {}
    for key, value in state.items():
        if key == _COUNTER:
            ours['iterations'] = value
        elif key.startswith('decode_head.clip.'):
            frozen[key.replace('decode_head.clip.', 'backbone.', 1)] = value
        elif key.startswith(_PROJECTIONS):
            frozen[key] = value
        else:
            ours[key] = value
    if teacher is not None and frozen:
        ours.update(
            # The batch counts of frozen norms are no weights.
            {
                f'{teacher}{key}': value
                for key, value in from_maskclip(frozen).items()
                if not key.endswith('num_batches_tracked')
            }
        )
    return ours


def to_maskclip_plus(
    state: Mapping[str, Tensor], visual: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The published keys of a state dict of ours.

    Args:
        state: of the segmentor, without its teacher.
        visual: state dict of the teacher's vision tower (OpenAI's names); None for a file without
            the frozen CLIP, as a training by self-training alone has it.
    """
    published = {key: value for key, value in state.items() if key != 'iterations'}
    published[_COUNTER] = state['iterations']
    frozen = to_maskclip({f'visual.{key}': value for key, value in (visual or {}).items()})
    published.update(
        {key.replace('backbone.', 'decode_head.clip.', 1): value for key, value in frozen.items()}
    )
    return published
