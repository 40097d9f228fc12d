"""C-RADIO in a text space: heads from a pickle of a training, words of SigLIP 2."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ovseg.encoders import build_dense_encoder, build_vision_language, load_text_aligned_radio
from ovseg.encoders.radio_text import AdaptorHead, read_adaptor
from ovseg.encoders.siglip_text import find_siglip_text, from_published
from ovseg.errors import UserError

RADIO = {
    **{'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    **{'reg_tokens': 4, 'init_values': 1.0},
}
# CLIP's own tokenizer needs no file.
TEXT = {
    'embed_dim': 12,
    'text_cfg': {
        **{'context_length': 8, 'vocab_size': 49408, 'width': 8, 'heads': 2, 'layers': 1},
        **{'no_causal_mask': True, 'proj_bias': True, 'pool_type': 'last'},
        **{'norm_kwargs': {'eps': 1e-6}, 'act_kwargs': {'approximate': 'tanh'}},
    },
}
RANDOM = {
    'model': RADIO,
    'pretrained': 'random',
    'text': {'model': TEXT, 'pretrained': 'random'},
}


def heads_file(path, key='siglip2', out=12, **changes):
    """A file as NVIDIA publishes it: heads of several teachers, by name or number."""
    torch.manual_seed(3)
    state = {
        f'_heads.{name}.{part}': value.half()
        for name, width in ((key, out), ('0', 7))
        for part, value in AdaptorHead(16, 20, width, inner=2).state_dict().items()
    }
    state['_feature_projections.siglip2.fc1.weight'] = torch.zeros(3, 3)
    args = Namespace(teachers=[{'name': 'clip'}, {'name': 'siglip2', 'type': 'siglip2'}], lr=0.1)
    torch.save({'state_dict': state, 'args': args, 'epoch': 3, **changes}, path)
    return path


@pytest.mark.parametrize('key', ['siglip2', '1'])
def test_the_head_of_a_teacher_is_found_by_name_or_number(key, tmp_path):
    found = read_adaptor(heads_file(tmp_path / 'half.pth.tar', key), 'siglip2')
    assert found.number == 1
    head = found.build('file')
    tokens = torch.randn(2, 5, 16)
    hidden = nn.functional.linear(tokens, found.state['fc1.weight'], found.state['fc1.bias'])
    for i in range(2):
        hidden = hidden + head.blocks[i](hidden)
    assert torch.equal(head(tokens), head.final(hidden)) and head(tokens).shape == (2, 5, 12)


def test_averaged_weights_come_first(tmp_path):
    averaged = {f'_heads.siglip2.{k}': v for k, v in AdaptorHead(16, 4, 6).state_dict().items()}
    path = heads_file(tmp_path / 'half.pth.tar', state_dict_ema=averaged)
    assert read_adaptor(path, 'siglip2').build(path).fc1.out_features == 4


def test_a_patch_goes_through_the_head_and_a_picture_by_its_teachers_token(tmp_path):
    loaded = load_text_aligned_radio(**{**RANDOM, 'adaptors': heads_file(tmp_path / 'h.pth.tar')})
    visual = loaded.model.visual
    encoder = build_dense_encoder(visual, last_block='vanilla')
    assert (encoder.position_resize, encoder.embed_dim, encoder.tower.prefix) == ('radio', 12, 5)
    image = torch.randn(1, 3, 16, 24)
    features = encoder(image, frozenset({'embedding', 'tokens'}))
    head = visual.head
    wanted = head(features.tokens.movedim(1, -1)).movedim(-1, 1)
    assert torch.allclose(features.patch, wanted, atol=1e-6)
    tokens, grid, _ = encoder.trunk(image)
    leaving = encoder.run(encoder.tower.blocks[-1], tokens, grid).tokens
    assert torch.allclose(features.embedding, head(leaving[:, 1]), atol=1e-6)
    assert torch.equal(encoder.leaving(image), features.tokens)  # C-RADIO has no last norm


def test_words_are_encoded_by_the_text_tower():
    loaded = build_vision_language({'type': 'RADIO', **RANDOM})
    texts = loaded.text_encoder(None)
    rows = texts.encode(['a cat', 'a dog'])
    assert rows.shape == (2, 12) and not torch.equal(*rows)
    assert texts.logit_scale == pytest.approx(10.0)


def transformers_state(width=8, layers=1, out=12):
    """Names and shapes of the text half of a file of Google's."""
    layer = {
        f'{part}.{kind}': (rows, columns) if kind == 'weight' else (rows,)
        for part, rows, columns in (
            *((f'self_attn.{which}_proj', width, width) for which in ('q', 'k', 'v', 'out')),
            ('mlp.fc1', 4 * width, width),
            ('mlp.fc2', width, 4 * width),
        )
        for kind in ('weight', 'bias')
    }
    norms = [f'layer_norm{i}.{kind}' for i in (1, 2) for kind in ('weight', 'bias')]
    layer.update(dict.fromkeys(norms, (width,)))
    shapes = {
        'embeddings.token_embedding.weight': (49408, width),
        'embeddings.position_embedding.weight': (8, width),
        'final_layer_norm.weight': (width,),
        'final_layer_norm.bias': (width,),
        'head.weight': (out, width),
        'head.bias': (out,),
        **{f'encoder.layers.{i}.{k}': v for i in range(layers) for k, v in layer.items()},
    }
    state = {f'text_model.{name}': torch.randn(shape) for name, shape in shapes.items()}
    beside = {'vision_model.post_layernorm.bias': torch.zeros(3), 'logit_bias': torch.zeros(1)}
    return {**state, **beside, 'logit_scale': torch.tensor([4.7])}


def test_a_file_of_transformers_gives_what_transformers_gives(tmp_path):
    torch.manual_seed(0)
    state = transformers_state()
    save_file(state, tmp_path / 'model.safetensors')
    loaded = find_siglip_text(TEXT, tmp_path)
    assert float(loaded.logit_scale()) == pytest.approx(4.7)
    transformers = pytest.importorskip('transformers')
    config = transformers.SiglipTextConfig(
        vocab_size=49408,
        hidden_size=8,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        projection_size=12,
    )
    theirs = transformers.SiglipTextModel(config).eval()
    own = {name.removeprefix('text_model.') for name in theirs.state_dict()}
    named = {k.removeprefix('text_model.'): v for k, v in state.items() if k.startswith('text_')}
    assert own == set(named)
    prefix = 'text_model.' if next(iter(theirs.state_dict())).startswith('text_model.') else ''
    theirs.load_state_dict({prefix + name: value for name, value in named.items()})
    tokens = loaded.tokenizer(['a cat', 'a very large dog'])
    with torch.no_grad():
        wanted = theirs(tokens).pooler_output
    assert torch.allclose(loaded.build()(tokens), wanted, rtol=1e-4, atol=1e-5)


def test_a_file_of_open_clip_is_read_by_its_own_names(tmp_path):
    tower = find_siglip_text(TEXT, 'random').build()
    state = {f'text.{name}': value for name, value in tower.state_dict().items()}
    torch.save({**state, 'visual.bias': torch.zeros(2)}, tmp_path / 'clip.pt')
    loaded = find_siglip_text(TEXT, tmp_path / 'clip.pt')
    tokens = loaded.tokenizer(['a cat'])
    assert torch.equal(loaded.build()(tokens), tower(tokens)) and loaded.logit_scale() is None


def test_names_that_are_in_no_table_are_kept_to_be_refused():
    state = {**transformers_state(), 'text_model.encoder.wings': torch.zeros(1)}
    assert 'encoder.wings' in from_published(state, 'file')
    with pytest.raises(UserError, match='has no text tower'):
        from_published({'vision_model.bias': torch.zeros(1)}, 'file')


@pytest.mark.parametrize(
    ('changes', 'arguments', 'message'),
    [
        ({'args': None}, {}, r'does not say which teachers .* clip\.adaptors'),
        ({}, {'adaptor': 'siglip'}, r"no adaptor 'siglip' .*clip, siglip2.*Did you mean"),
        ({'state_dict': {'a': torch.zeros(1)}}, {}, "names an adaptor 'siglip2' and has no weight"),
        ({'state_dict': {'_heads.1.mlp': torch.zeros(1)}}, {}, 'no MLP of version 2'),
        ({}, {'model': {**RADIO, 'embed_dim': 8}}, 'reads tokens of 16 values and the model has 8'),
        ({'out': 9}, {}, 'gives 9 values and the text tower 12: they are of different teachers'),
    ],
)
def test_heads_that_do_not_fit_are_one_sentence(changes, arguments, message, tmp_path):
    path = heads_file(tmp_path / 'half.pth.tar', **changes)
    with pytest.raises(UserError, match=message):
        load_text_aligned_radio(**{**RANDOM, 'adaptors': path, **arguments})


def test_a_model_of_ones_own_names_its_heads(tmp_path):
    save_file({'a': torch.zeros(1)}, tmp_path / 'radio.safetensors')
    with pytest.raises(UserError, match='do not fit this model'):
        load_text_aligned_radio(**{**RANDOM, 'pretrained': tmp_path / 'radio.safetensors'})
