from __future__ import annotations

import pytest
import torch

from ovseg.affinity.correlation import patch_correlation, pool_by_affinity
from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.guides import (
    DINOiserGuide,
    DINOTeacher,
)
from ovseg.registry import MODELS

VIT = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}


def learned(**settings):
    torch.manual_seed(0)
    return DINOiserGuide(in_channels=12, channels=6, **settings)


def teacher(**settings):
    torch.manual_seed(0)
    dino = {'model': VIT, 'pretrained': 'random'}
    return DINOTeacher(dino=dino, found={'dino': dino, 'decoder': 'random'}, **settings)


GUIDES = {'learned': learned, 'teacher': teacher}


def features_of(batch, height, width):
    generator = torch.Generator().manual_seed(batch * height + width)
    shape = (batch, 12, height, width)
    patch, inner = (torch.randn(shape, generator=generator) for _ in range(2))
    return DenseFeatures(patch=patch, mlp_input=inner), torch.rand(
        batch, 3, height * 8, width * 8, generator=generator
    )


def test_correlation_is_the_cosine_of_each_pair():
    maps = torch.randn(2, 5, 3, 4)
    found = patch_correlation(maps)
    flat = maps.flatten(2)
    for i in range(12):
        for j in range(12):
            wanted = torch.cosine_similarity(flat[:, :, i], flat[:, :, j])
            assert torch.allclose(found[:, i, j], wanted, atol=1e-6)


def test_correlations_under_the_threshold_are_zero_and_equal_ones_stay():
    maps = torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.8, 1.0]])[None, :, None]
    found = patch_correlation(maps, threshold=0.6)[0]
    assert torch.equal(found > 0, torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]]).bool())


def test_pooling_is_the_weighted_mean():
    maps, affinity = torch.randn(2, 5, 2, 3), torch.rand(2, 6, 6)
    pooled = pool_by_affinity(maps, affinity).flatten(2)
    flat = maps.flatten(2)
    for n in range(6):
        weights = affinity[:, n]
        mean = (flat * weights[:, None]).sum(2) / weights.sum(1, keepdim=True)
        assert torch.allclose(pooled[:, :, n], mean, atol=1e-5)


def test_the_projection_reads_raw_features_and_the_decoder_unit_vectors():
    guide = learned()
    maps = torch.randn(1, 12, 3, 3)
    projected, foreground = guide.predict(maps)
    longer, same = guide.predict(maps * 4)
    assert torch.allclose(foreground, same, atol=1e-6)
    assert not torch.allclose(projected, longer, atol=1e-3)


def test_the_border_of_the_projection_repeats_the_outermost_patches():
    guide = learned()
    projected, _ = guide.predict(torch.ones(1, 12, 4, 4))
    assert torch.allclose(projected, projected[:, :, :1, :1].expand_as(projected), atol=1e-6)


def test_a_teacher_on_another_grid_is_resized():
    features, image = features_of(2, 4, 6)
    guide = teacher()
    found = guide.look(image, (2, 3))
    assert found.affinity.shape == (2, 6, 6) and found.foreground.shape == (2, 1, 2, 3)
    assert torch.allclose(found.affinity.diagonal(dim1=1, dim2=2), torch.ones(2, 6), atol=1e-5)


def test_a_teacher_stays_frozen():
    guide = teacher().train()
    assert not any(module.training for module in guide.modules())
    assert not any(parameter.requires_grad for parameter in guide.parameters())


def test_both_are_built_by_their_names_and_print_what_they_are():
    config = {'type': 'DINOiserGuide', 'in_channels': 12, 'channels': 6, '_scope_': 'ovseg'}
    assert str(MODELS.build(config)) == 'DINOiserGuide(reads=mlp_input, gamma=0.2)'
    assert str(teacher(quantity='keys')) == 'DINOTeacher(random keys, gamma=0.2, FOUND)'


@pytest.mark.parametrize('layer', ['obj_proj', 'bkg_decoder'])
def test_published_weights_load_and_strictly(tmp_path, layer):
    source = learned()
    content = {'epoch': 99, 'model_state_dict': source.state_dict()}
    torch.save(content, tmp_path / 'last.pt')
    loaded = DINOiserGuide(in_channels=12, channels=6, weights=tmp_path / 'last.pt')
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    del content['model_state_dict'][f'{layer}.bias']
    torch.save(content, tmp_path / 'short.pt')
    with pytest.raises(UserError, match=f'1 missing \\({layer}.bias\\)'):
        DINOiserGuide(in_channels=12, channels=6, weights=tmp_path / 'short.pt')


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: learned(reads='keys'), "guide.reads must be 'mlp_input' or 'patch', got 'keys'"),
        (lambda: learned(gamma=2), r'guide.gamma must lie in \[0, 1\], got 2'),
        (lambda: teacher(quantity='value'), "Did you mean 'values'"),
        (lambda: teacher(gamma=-1), r'gamma must lie in \[0, 1\], got -1'),
    ],
)
def test_settings_that_do_not_fit_are_named(build, message):
    with pytest.raises(UserError, match=message):
        build()


def test_features_of_another_width_are_named():
    features, image = features_of(1, 2, 2)
    with pytest.raises(
        UserError, match='guide.in_channels is 5, but the encoder gives 12 channels'
    ):
        DINOiserGuide(in_channels=5, channels=6)(features, image)
    with pytest.raises(UserError, match="gives nothing as 'mlp_input'"):
        learned()(DenseFeatures(patch=features.patch), image)


def test_a_file_of_something_else_is_named(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / 'list.pt')
    with pytest.raises(UserError, match='is no file of CLIP-DINOiser weights'):
        learned(weights=tmp_path / 'list.pt')
