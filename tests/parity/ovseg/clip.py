"""The tiny CLIP of OVSeg's golden files: one tower each for regions and for words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.clip_files import load_clip_weights
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT, load_mask_prompted
from parity.golden import as_float, read, token_table
from parity.report import Tolerance

FEATURES = Tolerance(atol=2e-5, rtol=1e-4)
LOGITS = Tolerance(atol=1e-3, rtol=1e-4)  # cosines times 100
_WEIGHTS = 'clip_visual.pt'


def mask_prompted(content: Mapping[str, Any], depth: int | None = None) -> MaskPromptedViT:
    """The tower of a golden ``clip_visual.pt``."""
    state = dict(content['state_dict'])
    prompts = state['visual.mask_embedding'][:depth]
    tower = MaskPromptedViT(
        build_architecture(model_config(content['config'])).visual, len(prompts)
    )
    load_mask_prompted(tower, {**state, 'visual.mask_embedding': prompts}, _WEIGHTS)
    return tower.eval()


def text_model(content: Mapping[str, Any]) -> tuple[Any, open_clip.SimpleTokenizer]:
    """The tower of a golden ``text_features.pt``, beside a random one for images.

    Returns:
        open_clip's model and its tokenizer.
    """
    clip = build_architecture(model_config(content['config'])).eval()
    state = {**clip.state_dict(), **as_float(content['state_dict'])}
    state['token_embedding.weight'] = token_table(
        content['token_embedding_row_index'],
        content['token_embedding_rows'],
        content['config']['vocab_size'],
    )
    load_clip_weights(clip, state, 'text_features.pt')
    return clip, open_clip.SimpleTokenizer(context_length=clip.context_length)


def read_visual(folder: Path) -> dict[str, Any]:
    """The golden ``clip_visual.pt`` of a folder."""
    return read(folder / _WEIGHTS)


def model_config(golden: Mapping[str, Any]) -> dict[str, Any]:
    """An open_clip model config of a golden file's dimensions."""
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
