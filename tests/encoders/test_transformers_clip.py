"""CLIP, SigLIP and other towers of transformers: their own output rebuilt, folders as saved."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_companions import DINO
from tiny_tokenizers import unigram_folder

from ovseg.affinity import LAST_BLOCKS
from ovseg.encoders import build_dense_encoder, build_vision_language
from ovseg.encoders.transformers_tower import HubVision
from ovseg.errors import UserError

transformers = pytest.importorskip('transformers', reason='ovseg[transformers] is not installed')

SIZES = {'hidden_size': 32, 'num_hidden_layers': 3, 'num_attention_heads': 4}
VISION = {**SIZES, 'image_size': 32, 'patch_size': 8, 'intermediate_size': 48}
TEXT = {**SIZES, 'intermediate_size': 48, 'vocab_size': 220, 'max_position_embeddings': 12}
MODELS = {
    'clip': {'vision_config': VISION, 'text_config': {**TEXT, 'eos_token_id': 2}},
    'siglip': {'vision_config': VISION, 'text_config': {**TEXT, 'projection_size': 32}},
}
VISIONS = {
    'Tipsv2VisionModel': ('Tipsv2VisionConfig', {'layerscale_value': 0.7}),
    'DINOv3ViTModel': ('DINOv3ViTConfig', {'layerscale_value': 0.7, 'num_register_tokens': 4}),
}
PIXELS = {'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.3, 0.25]}


def shaken(model):
    """The model with weights that no initialisation left at 0 or 1."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draws)
    return model.eval()


def model_of(kind):
    torch.manual_seed(0)
    names = {'clip': ('CLIPConfig', 'CLIPModel'), 'siglip': ('SiglipConfig', 'SiglipModel')}[kind]
    config_class, model_class = (getattr(transformers, name) for name in names)
    more = {'projection_dim': 24} if kind == 'clip' else {}
    return shaken(model_class(config_class(**MODELS[kind], **more)))


def tower_of(name):
    """A tower of each kind that is opened."""
    if name in MODELS:
        model = model_of(name)
        return HubVision(model.vision_model, getattr(model, 'visual_projection', None))
    torch.manual_seed(0)
    config_class, fields = VISIONS[name]
    config = getattr(transformers, config_class)(**{**VISION, **fields})
    return HubVision(shaken(getattr(transformers, name)(config)))


def pictures(size, count=2):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(2))


def close(ours, theirs, share=1e-5):
    return torch.allclose(ours, theirs, rtol=0, atol=share * float(theirs.abs().max()))


@pytest.mark.parametrize('size', [(32, 32), (24, 56)])
@pytest.mark.parametrize('name', [*MODELS, *VISIONS])
@torch.no_grad()
def test_the_plain_last_block_gives_what_transformers_gives_on_any_grid(name, size):
    visual, images = tower_of(name), pictures(size)
    encoder = build_dense_encoder(visual, last_block='vanilla')
    features = encoder(images, frozenset({'tokens', 'embedding'}))
    assert close(features.embedding, visual(images))
    takes = {'interpolate_pos_encoding': True} if name in MODELS else {}
    theirs = visual.vision(images, **takes).last_hidden_state
    if name == 'clip':
        theirs = visual.vision.post_layernorm(theirs)
    theirs = theirs[:, encoder.tower.prefix :]
    assert close(features.tokens.flatten(2).transpose(1, 2), theirs)
    rounded = build_dense_encoder(visual.bfloat16(), last_block='vanilla')(images).patch
    assert torch.cosine_similarity(features.patch, rounded.float(), dim=1).min() > 0.99


@torch.no_grad()
def test_a_patch_of_siglip_is_pooled_as_the_head_pools_it_alone():
    visual = tower_of('siglip')
    features = build_dense_encoder(visual, last_block='vanilla')(
        pictures((16, 24)), frozenset({'tokens'})
    )
    for place in range(6):
        alone = visual.vision.head(features.tokens.flatten(2).transpose(1, 2)[:, place, None])
        assert close(features.patch.flatten(2)[:, :, place], alone)


@pytest.mark.parametrize('name', [*MODELS, *VISIONS])
@torch.no_grad()
def test_every_last_block_and_a_companion_run_on_every_tower(name):
    visual, images = tower_of(name), pictures((20, 41))
    for preset in set(LAST_BLOCKS) - {'resclip'}:
        features = build_dense_encoder(visual, last_block=preset)(images).patch
        assert features.shape[2:] == (3, 6) and torch.isfinite(features).all()
    mixed = build_dense_encoder(visual, type='ProxyCLIPEncoder', companion=DINO)(images).patch
    assert torch.isfinite(mixed).all()


@pytest.fixture(scope='module', params=['clip', 'siglip'])
def folder(request, tmp_path_factory):
    """A folder as ``save_pretrained`` writes it."""
    folder = tmp_path_factory.mktemp(request.param)
    model_of(request.param).save_pretrained(folder)
    unigram_folder(folder)
    (folder / 'preprocessor_config.json').write_text(json.dumps(PIXELS))
    return folder


@torch.no_grad()
def test_a_saved_folder_gives_the_same_embeddings(folder):
    kind = json.loads((folder / 'config.json').read_text())['model_type']
    theirs = model_of(kind)
    loaded = build_vision_language({'type': 'TransformersCLIP', 'model': str(folder)})
    assert (loaded.mean, loaded.std) == (tuple(PIXELS['image_mean']), tuple(PIXELS['image_std']))
    tokens = loaded.tokenizer(['a red star', 'the house'])
    assert tokens.shape == (2, 12)
    wanted = theirs.get_text_features(input_ids=tokens).pooler_output
    assert torch.allclose(loaded.model.encode_text(tokens), wanted, atol=1e-5)
    rows = loaded.text_encoder(None).encode(['a red star', 'the house'])
    assert torch.allclose(rows, wanted, atol=1e-5)
    images = pictures((32, 32))
    wanted = theirs.get_image_features(pixel_values=images).pooler_output
    assert torch.allclose(loaded.model.encode_image(images), wanted, atol=1e-5)
    encoder = loaded.dense_encoder({'last_block': 'maskclip'}, loaded.mean, loaded.std)
    assert encoder(images).patch.shape[1] == rows.shape[1]


def test_what_does_not_fit_is_one_sentence(folder, tmp_path):
    state = load_file(folder / 'model.safetensors')
    for name in ('config.json', 'preprocessor_config.json'):
        (tmp_path / name).write_text((folder / name).read_text())
    unigram_folder(tmp_path)
    settings = {'type': 'TransformersCLIP', 'model': str(tmp_path)}
    save_file({**state, 'more': torch.ones(1)}, tmp_path / 'model.safetensors')
    with pytest.raises(UserError, match='more'):
        build_vision_language(settings)
    save_file(state, tmp_path / 'model.safetensors')
    (tmp_path / 'preprocessor_config.json').write_text('{}')
    with pytest.raises(UserError, match='states no image_mean and image_std'):
        build_vision_language(settings)
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type 'bert'; TransformersCLIP reads 'clip' and 'si"):
        build_vision_language(settings)
    with pytest.raises(UserError, match='a vision tower of type Linear cannot be opened'):
        build_dense_encoder(HubVision(torch.nn.Linear(2, 2)))


def test_random_weights_need_no_files():
    model = {'model_type': 'siglip', **MODELS['siglip']}
    settings = {'type': 'TransformersCLIP', 'model': model}
    loaded = build_vision_language({**settings, 'pretrained': 'random'})
    assert loaded.text_encoder(None).encode(['a star']).shape == (1, 32)
    with pytest.raises(UserError, match="must name a file, or 'random'"):
        build_vision_language(settings)
