from __future__ import annotations

import sys

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_clip_models import RESNET, VIT, tiny_clip
from tiny_tokenizers import unigram_folder

from ovseg import downloads
from ovseg.encoders import clip as clip_module
from ovseg.encoders import load_clip
from ovseg.encoders.clip_registry import trained_statistics
from ovseg.errors import UserError


def as_openai_archive(model, path):
    """A TorchScript archive with the weights under their names, as OpenAI publishes CLIP."""

    class Holder(torch.nn.Module):
        def forward(self, image):
            return image

    holder = Holder()
    for name, value in model.state_dict().items():
        *parents, leaf = name.split('.')
        place = holder
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, Holder())
            place = getattr(place, parent)
        place.register_buffer(leaf, value.half() if value.is_floating_point() else value)
    holder.register_buffer('input_resolution', torch.tensor(32))
    torch.jit.script(holder).save(str(path))


@pytest.mark.parametrize('kind', ['pt', 'wrapped', 'safetensors', 'torchscript'])
def test_every_published_file_format_loads_the_same_weights(kind, tmp_path):
    source = tiny_clip('vit').model
    path = tmp_path / ('w.safetensors' if kind == 'safetensors' else 'w.pt')
    state = source.state_dict()
    if kind == 'pt':
        torch.save(state, path)
    elif kind == 'wrapped':
        torch.save({'state_dict': {f'module.{k}': v for k, v in state.items()}, 'epoch': 3}, path)
    elif kind == 'safetensors':
        save_file(state, path)
    else:
        as_openai_archive(source, path)
    loaded = load_clip(VIT, path)
    atol = 1e-3 if kind == 'torchscript' else 0
    for key, value in loaded.model.state_dict().items():
        assert torch.allclose(value, state[key], atol=atol), key
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_weights_that_ship_with_ovseg_are_taken_by_their_name():
    refused(r"no clip model 'tiny_found_scenes'", VIT, 'ovseg://tiny_found_scenes')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_clip(VIT, 'ovseg://nothing')


def test_vision_switches_leave_the_text_tower_alone():
    loaded = tiny_clip('vit', activation='gelu', layer_norm_eps=1e-6)
    activations = lambda tower: {type(block.mlp.gelu) for block in tower.resblocks}  # noqa: E731
    assert activations(loaded.model.visual.transformer) == {torch.nn.GELU}
    assert activations(loaded.model.transformer) == {open_clip.transformer.QuickGELU}
    assert loaded.model.visual.ln_post.eps == 1e-6 and loaded.model.ln_final.eps == 1e-5


def refused(message, *args, error=UserError, **kwargs):
    with pytest.raises(error, match=message) as caught:
        load_clip(*args, **kwargs)
    assert len(str(caught.value).splitlines()) == 1


def test_names_and_tags_that_do_not_exist_suggest_the_nearest():
    refused("Did you mean 'ViT-B-16-quickgelu'", 'ViT-B-16-quickgellu', 'openai')
    refused("Did you mean 'openai'", 'ViT-B-16-quickgelu', 'openia')
    refused('does not exist', 'ViT-B-16', '/nowhere/weights.pt', error=FileNotFoundError)
    refused("must be 'embedded'", 'tiny_clip_scenes', 'openai')


def test_weights_of_another_activation_are_an_error_not_a_warning():
    refused("set clip.model='ViT-B-16-quickgelu'", 'ViT-B-16', 'openai')
    refused("set clip.model='ViT-B-16'", 'ViT-B-16-quickgelu', 'laion2b_s34b_b88k')


def test_no_network_gives_one_sentence_that_names_the_file_at_once(monkeypatch):
    def unresolved(*args, **kwargs):
        raise OSError('name or service not known')

    monkeypatch.setattr(downloads.socket, 'getaddrinfo', unresolved)
    monkeypatch.setattr(downloads.urllib.request, 'getproxies', dict)
    monkeypatch.setattr(downloads.huggingface_hub, 'try_to_load_from_cache', lambda *args: None)
    refused(
        r'could not be downloaded \(no network\).*fetch https.*clip.pretrained',
        'ViT-B-16-quickgelu',
        'openai',
    )


def test_weights_in_the_hub_cache_need_no_network(monkeypatch, tmp_path):
    path = tmp_path / 'open_clip_model.safetensors'
    save_file(tiny_clip('vit').model.state_dict(), path)
    monkeypatch.setattr(downloads, 'reaches_hub', lambda: False)
    monkeypatch.setattr(
        downloads.huggingface_hub,
        'try_to_load_from_cache',
        lambda repository, file: str(path) if file == path.name else None,
    )
    assert downloads.fetch_weights({'hf_hub': 'some/repository/'}, 'x') == str(path)


def test_a_failing_download_is_one_sentence(monkeypatch):
    def broken(*args, **kwargs):
        raise ConnectionError('no route to host\nand a long story')

    monkeypatch.setattr(downloads, 'reaches_hub', lambda: True)
    monkeypatch.setattr(open_clip.pretrained, 'download_pretrained', broken)
    refused('could not be downloaded .*ConnectionError', 'ViT-B-16-quickgelu', 'openai')


def test_weights_that_do_not_fit_name_keys_and_shapes(tmp_path):
    path = tmp_path / 'weights.pt'
    torch.save(tiny_clip('resnet').model.state_dict(), path)
    refused('do not fit this model: .* missing .*unexpected', VIT, path)
    state = tiny_clip('vit').model.state_dict()
    state['visual.proj'] = state['visual.proj'][:, :3]
    torch.save(state, path)
    refused(r'visual.proj is \(32, 3\), wanted \(32, 24\)', VIT, path)


def test_nan_weights_are_refused_by_name(tmp_path):
    state = tiny_clip('vit').model.state_dict()
    state['visual.ln_post.weight'][3] = float('nan')
    torch.save(state, tmp_path / 'nan.pt')
    refused("NaN or infinite values in 'visual.ln_post.weight'", VIT, tmp_path / 'nan.pt')


def test_architectures_build_from_dicts_and_reject_unknown_fields():
    assert load_clip(RESNET, 'random').name == 'custom'
    refused('not an open_clip model config', {**VIT, 'quick_glu': True}, 'random')
    refused('text_cfg must be a dict of its sizes', {**VIT, 'text_cfg': None}, 'random')
    refused('vision transformers only', RESNET, 'random', activation='gelu')
    refused('clip.activation must be one of', VIT, 'random', activation='relu')


# Pixel statistics ----------------------------------------------------------------------------

OPENAI = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
HALF = ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ('name', 'statistics'),
    [
        ('ViT-SO400M-16-SigLIP2-512', HALF),
        ('PE-Core-L-14-336', HALF),
        ('MobileCLIP2-B', ((0.0,) * 3, (1.0,) * 3)),
        ('ViT-L-14-CLIPA', ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ('EVA02-L-14', OPENAI),
        ('ViT-L-14', OPENAI),  # one of its weights wants 0.5, the others do not
        ('ViT-S-16', OPENAI),  # open_clip knows no weights of it
    ],
)
def test_an_architectures_pixels_are_those_that_all_its_weights_want(name, statistics):
    assert trained_statistics(name) == statistics
    config = open_clip.get_model_config(name)
    # By its config alone timm's tower tells, if it is one.
    of_timm = 'timm_model_name' in config['vision_cfg']
    assert trained_statistics(config) == (statistics if of_timm else OPENAI)


def test_weights_from_a_file_take_the_architectures_pixels(tmp_path, monkeypatch):
    torch.save(tiny_clip('vit').model.state_dict(), tmp_path / 'siglip.pt')
    monkeypatch.setattr(clip_module, 'architecture_config', lambda *_: VIT)
    loaded = load_clip('ViT-B-16-SigLIP', tmp_path / 'siglip.pt')
    assert (loaded.mean, loaded.std) == HALF
    given = load_clip('ViT-B-16-SigLIP', 'random', mean=[0, 0, 0], std=(1, 1, 1))
    assert (given.mean, given.std) == ((0.0,) * 3, (1.0,) * 3)
    assert load_clip(VIT, 'random', mean=(0.1, 0.2, 0.3)).std == OPENAI[1]


@pytest.mark.parametrize('values', [[0.5], 0.5, [1, 1, 0], [1, 1, float('nan')], 'abc'])
def test_statistics_that_are_no_three_numbers_are_refused(values):
    refused('clip.std is three numbers, red, green and blue', VIT, 'random', std=values)


# Published files of other names --------------------------------------------------------------


def test_longclips_two_tables_of_positions_are_the_one_that_it_reads(tmp_path):
    width, length = VIT['text_cfg']['width'], 30
    state = tiny_clip('vit').model.state_dict()
    first, behind = torch.randn(2, length, width)
    state |= {'positional_embedding': first, 'positional_embedding_res': behind}
    torch.save(state, tmp_path / 'longclip.pt')
    loaded = load_clip(VIT, tmp_path / 'longclip.pt')
    near = (torch.arange(length) < 20)[:, None].float()
    assert torch.equal(loaded.model.positional_embedding, near * first + (1 - near) * behind)
    assert loaded.text_encoder(None).context_length == loaded.tokenizer(['a']).shape[1] == length
    # More words than the architecture has room for are read to their end.
    rows = loaded.text_encoder(None).encode(['a ' * 25 + word for word in ('cat', 'dog')])
    assert not torch.allclose(rows[0], rows[1], atol=1e-4)
    state['positional_embedding_res'] = behind[:9]
    torch.save(state, tmp_path / 'longclip.pt')
    refused('must be of one shape', VIT, tmp_path / 'longclip.pt')


def test_divas_clip_is_taken_out_of_its_training(tmp_path):
    state = tiny_clip('vit').model.state_dict()
    inside = {f'class_model.model.{name}': value for name, value in state.items()}
    beside = {
        name: torch.zeros(2) for name in ('class_model.final_fc.weight', 'unet.a', 'visual_proj.b')
    }
    torch.save({**inside, **beside}, tmp_path / 'diva.pth')
    loaded = load_clip(VIT, tmp_path / 'diva.pth')
    assert all(torch.equal(loaded.model.state_dict()[name], state[name]) for name in state)
    torch.save({**inside, 'other.weight': torch.zeros(2)}, tmp_path / 'diva.pth')
    refused(r'1 unexpected \(other.weight\)', VIT, tmp_path / 'diva.pth')


@pytest.mark.parametrize('names', ['whole model', 'with visual', 'tower alone'])
def test_a_vision_tower_from_a_file_stands_beside_the_text_tower_of_the_weights(names, tmp_path):
    base, other = tiny_clip('vit').model.state_dict(), load_clip(VIT, 'random').model
    torch.save(base, tmp_path / 'base.pt')
    state = {f'visual.{name}': value for name, value in other.visual.state_dict().items()}
    if names == 'whole model':
        state = other.state_dict()
    elif names == 'tower alone':
        state = other.visual.state_dict()
    torch.save(state, tmp_path / 'vision.pt')
    loaded = load_clip(VIT, tmp_path / 'base.pt', vision=tmp_path / 'vision.pt')
    assert loaded.weights == 'base.pt + vision.pt'
    for name, value in loaded.model.state_dict().items():
        wanted = other.state_dict() if name.startswith('visual.') else base
        assert torch.equal(value, wanted[name]), name


def test_a_vision_tower_that_does_not_fit_is_refused(tmp_path):
    torch.save(tiny_clip('resnet').model.state_dict(), tmp_path / 'vision.pt')
    refused('do not fit this model', VIT, 'random', vision=tmp_path / 'vision.pt')
    refused('which has its own', 'tiny_clip_scenes', 'embedded', vision=tmp_path / 'vision.pt')
    missing = tmp_path / 'none.pt'
    refused('none.pt', VIT, 'random', vision=missing, error=FileNotFoundError)


@torch.no_grad()
def test_siglips_file_by_the_names_of_open_clip(tmp_path):
    config = {
        'embed_dim': 64,
        'init_logit_bias': -10,
        'custom_text': True,
        'vision_cfg': {
            'image_size': 160,
            'timm_model_name': 'test_vit',
            'timm_pool': 'map',
            'timm_proj': 'none',
        },
        'text_cfg': {
            **VIT['text_cfg'],
            'no_causal_mask': True,
            'pool_type': 'last',
            'proj_bias': True,
        },
    }
    source = load_clip(config, 'random').model
    state = source.state_dict()
    assert {'visual.trunk.attn_pool.kv.weight', 'text.text_projection.bias'} < set(state)
    save_file(state, tmp_path / 'siglip.safetensors')
    loaded = load_clip(config, tmp_path / 'siglip.safetensors')
    images, tokens = torch.randn(1, 3, 160, 160), loaded.tokenizer(['a cat'])
    encoder = loaded.dense_encoder({'last_block': 'vanilla'}, (0.5,) * 3, (0.5,) * 3)
    embedding = encoder(images, frozenset({'embedding'})).embedding
    assert torch.allclose(embedding, source.encode_image(images), atol=1e-5)
    rows = loaded.text_encoder(None).encode(['a cat'])
    assert torch.allclose(rows, source.encode_text(tokens), atol=1e-6)
    del state['visual.trunk.attn_pool.latent']
    save_file(state, tmp_path / 'siglip.safetensors')
    refused('1 missing .*attn_pool.latent', config, tmp_path / 'siglip.safetensors')


# Towers of transformers' ----------------------------------------------------------------------


def test_a_text_tower_of_transformers_is_built_from_a_folder(tmp_path):
    transformers = pytest.importorskip('transformers', reason='ovseg[transformers]')
    transformers.XLMRobertaConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=400,
        intermediate_size=16,
    ).save_pretrained(tmp_path)  # fmt: skip
    text = {
        'hf_model_name': str(tmp_path),
        'hf_tokenizer_name': str(unigram_folder(tmp_path)),
        'hf_pooler_type': 'mean_pooler',
        'hf_proj_type': 'mlp',
        'context_length': 12,
    }
    loaded = load_clip({**VIT, 'text_cfg': text}, 'random')
    assert loaded.text_encoder(None).context_length == 12
    rows = loaded.text_encoder(None).encode(['北京的街道', 'große Straße', 'قطة'])
    assert rows.shape == (3, 24) and torch.isfinite(rows).all()


def test_a_text_tower_of_transformers_without_it_has_an_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    text = {'hf_model_name': 'xlm-roberta-base'}
    refused(r'pip install "ovseg\[transformers\]"', {**VIT, 'text_cfg': text}, 'random')
