"""What open_clip's registry knows of an architecture: its weights, their pixel statistics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from open_clip import pretrained as open_clip_weights

from ovseg.downloads import fetch_weights
from ovseg.errors import UserError, nearest
from ovseg.weight_files import is_there

# Mean and standard deviation of pixels, RGB in units of [0, 1].
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
_OPENAI: Statistics = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def architecture_config(name: str, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """The model config of an architecture.

    Args:
        name: as open_clip has it, such as ``'ViT-B-16-quickgelu'``.
        others: names beside open_clip's, for the suggestion.

    Raises:
        UserError: there is none; suggests the nearest name.
    """
    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(
            f"open_clip has no architecture '{name}' (clip.model)."
            f'{nearest(name, [*open_clip.list_models(), *others])}'
        )
    return config


def trained_statistics(model: str | Mapping[str, Any]) -> Statistics:
    """Pixel statistics that an architecture's weights are trained with.

    They are what all weights that open_clip knows of it agree on (0.5 for SigLIP and Perception
    Encoder, none for MobileCLIP2-B), and OpenAI's where they do not agree or there are none.

    Args:
        model: its name; or a model config, which stands for all architectures with its timm tower.

    Example:
        >>> trained_statistics('ViT-B-16-SigLIP2')
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    names = [model] if isinstance(model, str) else _with_tower_of(model)
    found = {
        _of_tag(open_clip_weights.get_pretrained_cfg(name, tag))
        for name in names
        for tag in open_clip_weights.list_pretrained_tags_by_model(name)
    }
    return found.pop() if len(found) == 1 else _OPENAI


def locate_weights(
    name: str, pretrained: str | Path, quick_gelu: bool
) -> tuple[str, Statistics | None]:
    """The file of an architecture's weights and, if a tag names them, their pixel statistics.

    Args:
        name: of the architecture.
        pretrained: a tag or a file.
        quick_gelu: whether the architecture has QuickGELU.

    Raises:
        UserError: neither a file nor a tag, weights of the other activation, no network.
        FileNotFoundError: it looks like a path and there is no such file.
    """
    # open_clip has each architecture twice, with and without QuickGELU.
    sibling = name.removesuffix('-quickgelu') if quick_gelu else f'{name}-quickgelu'
    tag = open_clip_weights.get_pretrained_cfg(name, str(pretrained))
    if not tag:
        # A folder or a pipe is refused where files are read.
        if is_there(pretrained):
            return str(pretrained), None
        if Path(pretrained).suffix:
            raise FileNotFoundError(
                f"clip.pretrained='{pretrained}' does not exist; check the path of the weights"
            )
        if open_clip_weights.get_pretrained_cfg(sibling, str(pretrained)):
            raise UserError(_other_activation(name, sibling, pretrained))
        tags = open_clip_weights.list_pretrained_tags_by_model(name)
        raise UserError(
            f"clip.pretrained='{pretrained}' is neither a file nor a tag of '{name}' "
            f'(known: {", ".join(tags) or "none"}).{nearest(str(pretrained), tags)}'
        )
    if bool(tag.get('quick_gelu', False)) != quick_gelu:
        # open_clip only warns, and the features are silently wrong.
        raise UserError(_other_activation(name, sibling, pretrained))
    return fetch_weights(tag, f"'{pretrained}' of '{name}'"), _of_tag(tag)


def _other_activation(name: str, sibling: str, pretrained: str | Path) -> str:
    return (
        f"weights '{pretrained}' were trained with another activation than '{name}' has; "
        f"set clip.model='{sibling}'"
    )


def _of_tag(tag: Mapping[str, Any]) -> Statistics:
    mean, std = tag.get('mean') or _OPENAI[0], tag.get('std') or _OPENAI[1]
    return tuple(mean), tuple(std)


def _with_tower_of(config: Mapping[str, Any]) -> list[str]:
    """Architectures with the timm tower of a config; none for a tower of open_clip's own."""
    tower = config['vision_cfg'].get('timm_model_name')
    if tower is None:
        return []
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return [
        name for name, its in configs.items() if its['vision_cfg'].get('timm_model_name') == tower
    ]
