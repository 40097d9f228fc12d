from __future__ import annotations

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_clip_models import RESNET, VIT, tiny_clip

from ovseg import downloads
from ovseg.encoders import load_clip
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
    refused(r'ovseg://tiny_found_scenes do not fit', VIT, 'ovseg://tiny_found_scenes')
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
    refused('vision transformers only', RESNET, 'random', activation='gelu')
    refused('clip.activation must be one of', VIT, 'random', activation='relu')
