"""What every loader of a vision-language model promises: two towers in one space."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from registered import build, check_table

VIT = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
TEXT = {'context_length': 8, 'vocab_size': 49408, 'width': 8, 'heads': 2, 'layers': 1}
HUB = {
    **{'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2},
    'intermediate_size': 32,
}
TABLE = {
    'DINOTxt': {
        'model': {
            'backbone': {**VIT, 'reg_tokens': 2},
            **{'text_width': 8, 'text_layers': 1, 'text_heads': 2},
        }
    },
    'RADIO': {
        'model': {**VIT, 'reg_tokens': 3},
        'text': {'model': {'embed_dim': 12, 'text_cfg': TEXT}, 'pretrained': 'random'},
    },
    'TIPSv2': {
        'model': {
            **{'width': 16, 'layers': 2, 'heads': 2, 'hidden': 32, 'text_hidden': 32},
            **{'text_layers': 1, 'image_size': 32, 'patch': 8, 'vocabulary': 60},
        }
    },
    'TransformersCLIP': {
        'model': {
            'model_type': 'siglip',
            'vision_config': {**HUB, 'image_size': 32, 'patch_size': 8},
            'text_config': {**HUB, 'vocab_size': 300, 'projection_size': 16},
        }
    },
}


@cache
def loaded(name):
    if name == 'TransformersCLIP':
        pytest.importorskip('transformers', reason='ovseg[transformers] is not installed')
    return build(name, **TABLE[name], pretrained='random')


def test_every_registered_loader_is_here():
    check_table('vision-language model', TABLE, 'TABLE of test_vision_language_contract.py')


@pytest.mark.parametrize('name', TABLE)
def test_both_towers_are_frozen_and_in_one_space(name):
    found = loaded(name)
    assert not found.model.training
    assert not any(weight.requires_grad for weight in found.model.parameters())
    assert len(found.mean) == len(found.std) == 3 and found.weights.startswith('random')
    encoder = found.dense_encoder({}, found.mean, found.std)
    dense = encoder(torch.rand(2, 3, 24, 40), frozenset({'embedding'}))
    rows = found.text_encoder(None).encode(['a cat', 'a dog'])
    assert dense.patch.shape == (2, encoder.embed_dim, 3, 5)
    assert rows.shape == (2, encoder.embed_dim) and dense.embedding.shape == rows.shape
    assert not torch.allclose(rows[0], rows[1])


@pytest.mark.parametrize('name', TABLE)
def test_words_are_encoded_alike_alone_and_beside_others(name):
    texts = loaded(name).text_encoder(None)
    together, alone = texts.encode(['a cat', 'a large dog']), texts.encode(['a cat'])
    assert torch.allclose(together[0], alone[0], atol=1e-5)
    assert texts.fingerprint == loaded(name).text_encoder(None).fingerprint
