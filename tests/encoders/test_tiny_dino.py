"""The embedded tiny DINO and FOUND: small, complete, and patches of one thing are alike."""

import json

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from ovseg.encoders.embedded import write_embedded
from ovseg.encoders.tiny_dino import build_tiny_dino, build_tiny_found
from ovseg.errors import UserError
from ovseg.scenes.datasets import class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.found import last_queries_and_keys
from ovseg.scenes.world import MATERIALS, sample_scene
from ovseg.weight_files import WEIGHTS

PATCH = 8
GRID = 24  # patches along a side of a scene of 192 pixels


@pytest.fixture(scope='module')
def tiny():
    return build_tiny_dino()


def pixels_of(scene, mean, std):
    image = torch.from_numpy(draw(scene).image).permute(2, 0, 1) / 255
    return ((image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))[None]


def patch_labels(scene):
    """Label of each patch (N,), -1 where two labels meet."""
    labels = class_labels(scene, draw(scene)).reshape(GRID, PATCH, GRID, PATCH)
    labels = labels.transpose(0, 2, 1, 3).reshape(GRID * GRID, PATCH * PATCH)
    pure = (labels == labels[:, :1]).all(1)
    return torch.from_numpy(np.where(pure, labels[:, 0].astype(int), -1))


def last_values(vit, pixels):
    """Values of the last block (N, D), class token dropped."""
    seen = []
    hook = vit.blocks[-1].attn.qkv.register_forward_hook(lambda _, i, o: seen.append(o))
    with torch.inference_mode():
        vit.forward_features(pixels)
    hook.remove()
    return seen[0][0, 1:].chunk(3, -1)[2]


def similarities(vit, mean, std, numbers):
    """Cosines of values: (of patches with the same label, of patches with different labels)."""
    same, different = [], []
    for number in numbers:
        scene = sample_scene('val', number)
        labels = patch_labels(scene)
        values = F.normalize(last_values(vit, pixels_of(scene, mean, std)), dim=1)[labels >= 0]
        labels = labels[labels >= 0]
        first, second = torch.triu_indices(len(labels), len(labels), 1)
        cosines = (values @ values.T)[first, second]
        equal = labels[first] == labels[second]
        same.append(cosines[equal])
        different.append(cosines[~equal])
    return torch.cat(same), torch.cat(different)


def test_the_files_are_small_and_say_where_they_come_from():
    assert (WEIGHTS / 'tiny_dino_scenes.safetensors').stat().st_size <= 3_000_000
    assert (WEIGHTS / 'tiny_found_scenes.safetensors').stat().st_size <= 10_000
    for name in ('tiny_dino_scenes', 'tiny_found_scenes'):
        facts = json.loads((WEIGHTS / f'{name}.json').read_text())
        assert 'no labels' in facts['origin']['supervision']


def test_it_is_timms_class_under_the_published_names(tiny):
    vit, mean, std = tiny
    assert type(vit) is VisionTransformer
    assert not vit.training
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    assert len(mean) == len(std) == 3
    parts = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
    names = ['patch_embed.proj', 'norm']
    names += [f'blocks.{i}.{part}' for i in range(len(vit.blocks)) for part in parts]
    expected = {f'{name}.{kind}' for name in names for kind in ('weight', 'bias')}
    assert set(vit.state_dict()) == expected | {'cls_token', 'pos_embed'}


def test_values_of_one_thing_are_alike_and_of_different_things_are_not(tiny):
    same, different = similarities(*tiny, range(6))
    assert same.mean() > different.mean() + 0.6
    assert same.median() > 0.8
    assert different.median() < 0.3


def test_training_is_why_they_are(tiny):
    vit, mean, std = tiny
    torch.manual_seed(0)
    facts = json.loads((WEIGHTS / 'tiny_dino_scenes.json').read_text())
    untrained = VisionTransformer(**facts['model']).eval()

    def right_order(network):
        same, different = similarities(network, mean, std, range(3))
        picks = torch.randint(0, 2**31, (2, 20000), generator=torch.Generator().manual_seed(0))
        return (same[picks[0] % len(same)] > different[picks[1] % len(different)]).float().mean()

    assert 1 - right_order(vit) < 0.5 * (1 - right_order(untrained))


def test_found_reads_this_dinos_keys(tiny):
    vit, mean, std = tiny
    found, dino = build_tiny_found()
    assert dino == 'tiny_dino_scenes'
    assert found.decoder.weight.shape == (1, vit.embed_dim, 1, 1)
    _, keys = last_queries_and_keys(vit, pixels_of(sample_scene('val', 0), mean, std))
    grid = keys[:, :, 1:].transpose(2, 3).flatten(1, 2).unflatten(2, (GRID, GRID))
    assert found(grid).shape == (1, 1, GRID, GRID)


def test_found_prefers_objects_to_materials(tiny):
    vit, mean, std = tiny
    found, _ = build_tiny_found()
    on_objects, on_materials = [], []
    for number in range(8):
        scene = sample_scene('val', number)
        labels = patch_labels(scene)
        _, keys = last_queries_and_keys(vit, pixels_of(scene, mean, std))
        grid = keys[:, :, 1:].transpose(2, 3).flatten(1, 2).unflatten(2, (GRID, GRID))
        foreground = found(grid).flatten() > 0
        on_objects.append(foreground[labels >= len(MATERIALS)])
        on_materials.append(foreground[(labels >= 0) & (labels < len(MATERIALS))])
    assert torch.cat(on_objects).float().mean() > 3 * torch.cat(on_materials).float().mean()


def test_models_are_asked_for_by_their_kind():
    with pytest.raises(UserError, match="no dino model 'tiny_clip_scenes'.*tiny_dino_scenes"):
        build_tiny_dino('tiny_clip_scenes')
    with pytest.raises(UserError, match="no found model 'tiny_fund_scenes'.*tiny_found_scenes"):
        build_tiny_found('tiny_fund_scenes')


def test_weights_that_do_not_fit_are_explained(tmp_path, tiny):
    vit = tiny[0]
    facts = json.loads((WEIGHTS / 'tiny_dino_scenes.json').read_text())
    state = dict(vit.state_dict())
    del state['cls_token']
    write_embedded(tmp_path / 'x', state=state, **facts)
    with pytest.raises(UserError, match='(?s)x.safetensors does not fit x.json.*cls_token'):
        build_tiny_dino('x', tmp_path)
    state['cls_token'] = torch.full((1, 1, vit.embed_dim), 1e9)
    with pytest.raises(UserError, match='cls_token of the checkpoint is not finite'):
        write_embedded(tmp_path / 'y', state=state, **facts)
    assert not (tmp_path / 'y.safetensors').exists()


def test_found_survives_the_file(tmp_path):
    found, dino = build_tiny_found()
    facts = json.loads((WEIGHTS / 'tiny_found_scenes.json').read_text())
    write_embedded(tmp_path / 'copy', state=found.state_dict(), **facts)
    again, name = build_tiny_found('copy', tmp_path)
    assert name == dino
    for key, value in found.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
