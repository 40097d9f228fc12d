"""Which SAM a config means: what is built of it needs to know, and nobody after that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovseg.encoders.prompted_sam import PromptedSAM
from ovseg.encoders.sam import EMBEDDED_SAMS, PUBLISHED, LoadedSAM, load_sam
from ovseg.encoders.sam2 import LoadedSAM2, is_sam2, load_sam2
from ovseg.encoders.sam2_architecture import PUBLISHED as PUBLISHED_2
from ovseg.encoders.sam2_prompted import SAM2
from ovseg.encoders.sam_encoder import SAMEncoder
from ovseg.errors import UserError, nearest

__all__ = ['build_prompted_sam', 'is_sam2', 'load_any_sam']


def load_any_sam(settings: Mapping[str, Any]) -> LoadedSAM | LoadedSAM2:
    """A SAM of the version that its ``model`` names.

    Args:
        settings: arguments of :func:`~ovseg.encoders.sam.load_sam` or
            :func:`~ovseg.encoders.sam2.load_sam2`.

    Raises:
        UserError: no such model, or see the loaders.
    """
    model = settings.get('model')
    if is_sam2(model):
        return load_sam2(**settings)
    names = (*PUBLISHED, *EMBEDDED_SAMS, *PUBLISHED_2)
    if not isinstance(model, Mapping) and model not in names:
        raise UserError(
            f'sam.model must be one of {", ".join(names)}, a folder of a SAM 2 or a dict, got '
            f"'{model}'.{nearest(str(model), names)}"
        )
    return load_sam(**settings)


def build_prompted_sam(settings: Mapping[str, Any]) -> PromptedSAM:
    """A SAM that can be prompted.

    Args:
        settings: as for :func:`load_any_sam`.

    Raises:
        UserError: see there.
    """
    loaded = load_any_sam(settings)
    return SAM2(loaded) if isinstance(loaded, LoadedSAM2) else SAMEncoder(loaded)
