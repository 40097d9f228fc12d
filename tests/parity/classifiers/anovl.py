"""Parity with AnoVL: its dense path, its words, its maps, and its training at test time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import CLIPViTEncoder, load_clip
from ovseg.encoders.clip import build_architecture
from ovseg.scores.anomaly import pooled_states, state_maps, state_probabilities
from ovseg.training.prompt_adapter import PromptAdapter
from ovseg.vocabulary.anomaly_words import STATES, picture_templates, state_phrases
from parity.golden import clip_config, saved
from parity.report import Case, Tolerance

_UNIT = Tolerance(atol=1e-5)
_LOSS = Tolerance(atol=1e-5, rtol=1e-5)


def _of_tokens(golden: Tensor) -> Tolerance:
    """Tokens grow from block to block: relative to the largest."""
    return Tolerance(atol=1e-5 * max(1.0, float(golden.abs().max())))


def check_anovl(file: Case, folder: Path) -> None:
    """AnoVL: from images and encoded sentences to maps."""
    config, inputs = file['config'], file.inner('inputs')
    _check_words(file, config['counts'])
    images = inputs['images']
    with torch.no_grad():
        dense = _check_dense(file, config, images)
    raw = inputs['text_raw']
    rows = pooled_states(raw)
    units = F.normalize(raw, dim=-1)
    between = file.inner('intermediate')
    between.compare(_UNIT, text_features=rows.T, text_list=units.permute(1, 2, 0))
    adapter = PromptAdapter(units.flatten(0, 1))
    adapter.linear.weight.data = inputs['adapter_weight'].clone()
    adapter.linear.bias.data = inputs['adapter_bias'].clone()
    patches = dense[:1].movedim(1, -1)  # the golden maps are those of the first image
    size = (images.shape[-2], images.shape[-1])

    def abnormal(features: Tensor) -> Tensor:
        return state_maps(state_probabilities(features, rows), size)[:, 1:]

    outputs = file.inner('outputs')
    with torch.no_grad():
        outputs.compare(_UNIT, map_no_adapter=abnormal(patches))
        outputs.compare(_UNIT, map_untrained_adapter=abnormal(adapter(patches)))
    noise = inputs['noise']
    steps = [noise[step] for step in range(config['epochs'])]
    losses = adapter.fit(patches, rows, steps, config['lr'])
    outputs.compare(_LOSS, losses=torch.tensor(losses))
    with torch.no_grad():
        outputs.compare(_UNIT, map_adapted=abnormal(adapter(patches)))


def _check_words(file: Case, counts: dict[str, int]) -> None:
    for state in STATES:
        name = f'config.counts.states_{state}'
        phrases = state_phrases('bottle', state)
        file.compare_as(name, len(phrases), counts[f'states_{state}'])
    for key, wanted in counts.items():
        if not key.startswith('states_'):
            file.compare_as(f'config.counts.{key}', len(picture_templates('photo')), wanted)


def _check_dense(file: Case, config: dict, images: Tensor) -> Tensor:
    """The value-value path, token by token; returns the dense features (B, D, h, w)."""
    used = config['used_index']
    layers = len(config['features_list'])
    if used % 2 or not 0 <= used < 2 * layers:
        raise ValueError(f'used_index {used} is not on the value-value path')
    patch = config['patch_size']
    architecture = clip_config({**config, 'quick_gelu': False, 'image_size': images.shape[-1]})
    architecture['vision_cfg']['image_size'] = [side * patch for side in config['grid']]
    random = build_architecture(architecture).state_dict()
    text = {key: value for key, value in random.items() if not key.startswith('visual.')}
    with saved(clip={**text, **file.content['state_dict']}) as files:
        clip = load_clip(architecture, files['clip']).model
    file.compare_weights('state_dict', clip.state_dict())
    encoder = CLIPViTEncoder(clip.visual, 'vv-all')
    tokens, grid, _ = encoder.trunk(images)
    original = encoder.run(clip.visual.transformer.resblocks[-1], tokens, grid).tokens
    summed = encoder.leaving(images)
    features = encoder(images, frozenset({'embedding'}))
    # The class token is the model's own.
    path = torch.cat([original[:, :1], summed.flatten(2).transpose(1, 2)], 1)
    pooled = torch.cat([features.embedding[:, None], features.patch.flatten(2).mT], 1)
    between = file.inner('intermediate')
    between.compare(_of_tokens, vv_tokens_last=path, original_tokens_last=original)
    between.compare(_UNIT, pooled_all_tokens=pooled)
    file.inner('outputs').compare(_UNIT, dense=features.patch.flatten(2).mT)
    return features.patch
