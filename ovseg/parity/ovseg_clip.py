"""The tiny CLIP of OVSeg's golden files: one tower each for regions and for words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch

from ovseg.encoders.clip import build_architecture, load_clip_weights
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT, load_mask_prompted
from ovseg.parity.report import Tolerance

FEATURES = Tolerance(atol=2e-5, rtol=1e-4)
LOGITS = Tolerance(atol=1e-3, rtol=1e-4)  # cosines times 100
_WEIGHTS = 'clip_visual.pt'
_TOKENS = 'token_embedding.weight'


def mask_prompted(content: Mapping[str, Any], depth: int | None = None) -> MaskPromptedViT:
    """The tower of a golden ``clip_visual.pt``.

    Args:
        content: of the file.
        depth: only the first prompts; None for all.
    """
    state = dict(content['state_dict'])
    prompts = state['visual.mask_embedding'][:depth]
    tower = MaskPromptedViT(
        build_architecture(model_config(content['config'])).visual, len(prompts)
    )
    load_mask_prompted(tower, {**state, 'visual.mask_embedding': prompts}, _WEIGHTS)
    return tower.eval()


def text_model(content: Mapping[str, Any]) -> tuple[Any, open_clip.SimpleTokenizer]:
    """The tower of a golden ``text_features.pt``, beside a random one for images.

    Args:
        content: of the file.

    Returns:
        open_clip's model and its tokenizer.
    """
    clip = build_architecture(model_config(content['config'])).eval()
    state = clip.state_dict()
    state[_TOKENS] = torch.zeros_like(state[_TOKENS])
    state[_TOKENS][content['token_embedding_row_index']] = content['token_embedding_rows'].float()
    state.update({name: value.float() for name, value in content['state_dict'].items()})
    load_clip_weights(clip, state, 'text_features.pt')
    return clip, open_clip.SimpleTokenizer(context_length=clip.context_length)


def read_visual(folder: Path) -> dict[str, Any]:
    """The golden ``clip_visual.pt`` of a folder."""
    return torch.load(folder / _WEIGHTS, map_location='cpu', weights_only=True)


def model_config(golden: Mapping[str, Any]) -> dict[str, Any]:
    """An open_clip model config of a golden file's dimensions.

    Args:
        golden: its ``config``.
    """
    return {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': {
            'image_size': golden['image_resolution'],
            'patch_size': golden['vision_patch_size'],
            'width': golden['vision_width'],
            'layers': golden['vision_layers'],
            'head_width': golden['vision_width'] // golden['vision_heads'],
        },
        'text_cfg': {
            'context_length': golden['context_length'],
            'vocab_size': golden['vocab_size'],
            'width': golden['text_width'],
            'heads': golden['text_heads'],
            'layers': golden['text_layers'],
        },
        'quick_gelu': golden['quick_gelu'],
    }
