"""Where the tiny ConvNeXt CLIP starts: its text tower is the tiny CLIP's."""

from __future__ import annotations

from open_clip import CLIP

from ovseg.errors import UserError

_VISION = 'visual.'


def start_at_text(clip: CLIP, other: CLIP) -> None:
    """Gives a CLIP the text tower and the temperature of another one.

    Args:
        clip: open_clip's, changed in place; its vision tower may be of any kind.
        other: a CLIP with as many rows in its token embedding.

    Raises:
        UserError: the sizes of the two text towers differ.
    """
    own = {key: value for key, value in clip.state_dict().items() if not key.startswith(_VISION)}
    theirs = {
        key: value for key, value in other.state_dict().items() if not key.startswith(_VISION)
    }
    different = sorted(set(own) ^ set(theirs)) or [
        key for key, value in theirs.items() if value.shape != own[key].shape
    ]
    if different:
        raise UserError(
            f'model.start: the text tower of this CLIP does not fit ({different[0]}); '
            'model.clip.text_cfg and embed_dim must be its own'
        )
    clip.load_state_dict(theirs, strict=False)
