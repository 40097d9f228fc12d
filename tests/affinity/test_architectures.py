"""Every last block on every kind of open_clip ViT, and the published architectures."""

from __future__ import annotations

import copy
from dataclasses import replace

import open_clip
import pytest
import torch
from tiny_clip_models import VIT

from ovseg.affinity import ATTENTIONS, LAST_BLOCKS, LastBlockSpec
from ovseg.affinity.variants import NEEDS_BIAS, TAKES_NO_BIAS
from ovseg.encoders import build_dense_encoder, load_clip


def vision(**changes):
    return {**VIT, 'vision_cfg': {**VIT['vision_cfg'], **changes}}


ARCHITECTURES = {
    'class token': VIT,
    'average, norm after it': vision(pool_type='avg', final_ln_after_pool=True),
    'no norm before': vision(no_ln_pre=True),
    'patch 7, one head': vision(patch_size=7, image_size=35, head_width=32),
    'patch 14, wide heads': vision(patch_size=14, image_size=28, head_width=16, mlp_ratio=3.0),
    'fixed positions': vision(pos_embed_type='sin_cos_2d'),
    'layer scale': vision(ls_init_value=0.1),
    'plain GELU': {**VIT, 'quick_gelu': False},
}
SPECS = {
    # The towers here have three blocks.
    **{
        name: replace(spec, earlier_blocks=(1, 2)) if spec.earlier_blocks else spec
        for name, spec in LAST_BLOCKS.items()
    },
    **{
        f'{name} {kind}': LastBlockSpec(
            name,
            residual=whole,
            ffn=whole,
            neighbour_std=std,
            earlier_blocks=(2,) if 'e' in ATTENTIONS[name][1] else (),
        )
        for name in ATTENTIONS
        for kind, whole, std in (('alone', False, None), ('with neighbours', True, 2.0))
        if not (std is None and name in NEEDS_BIAS) and not (std and name in TAKES_NO_BIAS)
    },
}


@pytest.fixture(scope='module', params=sorted(ARCHITECTURES))
def visual(request):
    torch.manual_seed(0)
    return load_clip(ARCHITECTURES[request.param], 'random').model.visual


@pytest.mark.parametrize('padding', ['floor', 'centred'])
@pytest.mark.parametrize('spec', sorted(SPECS))
def test_any_last_block_runs_on_any_architecture(visual, spec, padding):
    before = copy.deepcopy(visual.state_dict())
    encoder = build_dense_encoder(
        visual, last_block=SPECS[spec], position_resize='scale_factor', padding=padding
    )
    with torch.no_grad():
        for size in [(33, 61), (61, 33), (5, 40)]:
            images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
            together = encoder(images).patch
            sides = [
                max(side // p, 1) if padding == 'floor' else -(-side // p)
                for side, p in zip(size, encoder.stride, strict=True)
            ]
            assert together.shape == (2, 24, *sides) and torch.isfinite(together).all()
            for index in range(2):
                alone = encoder(images[index : index + 1]).patch
                assert torch.allclose(together[index], alone[0], atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in visual.state_dict().items())


def test_blocks_differ_from_each_other():
    torch.manual_seed(0)
    visual = load_clip(VIT, 'random').model.visual
    image = torch.randn(1, 3, 40, 48)
    results = {
        repr(spec): build_dense_encoder(visual, last_block=spec)(image).patch
        for spec in SPECS.values()
    }
    keys = sorted(results)
    for index, first in enumerate(keys):
        for second in keys[index + 1 :]:
            assert not torch.allclose(results[first], results[second], atol=1e-5), (first, second)


# Architecture and tags: the models that the configs and their READMEs name.
PUBLISHED = {
    'ViT-B-16-quickgelu': ('openai', 'metaclip_fullcc', 'dfn2b'),
    'ViT-L-14-quickgelu': ('openai', 'metaclip_fullcc', 'dfn2b'),
    'ViT-B-16': ('laion2b_s34b_b88k',),
    'ViT-L-14': ('laion2b_s32b_b82k',),
    'ViT-H-14': ('laion2b_s32b_b79k',),
    'ViT-H-14-quickgelu': ('metaclip_fullcc', 'dfn5b'),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_weights_are_known_by_open_clip(name):
    assert set(PUBLISHED[name]) <= set(open_clip.list_pretrained_tags_by_model(name))


# An activation of their own changes no shape.
@pytest.mark.parametrize('name', sorted({name.removesuffix('-quickgelu') for name in PUBLISHED}))
def test_published_architectures_run_with_any_last_block_on_the_meta_device(name):
    """Shapes only: no weights are made."""
    config = open_clip.get_model_config(name)
    # Each block has the shapes of the one before: twelve say it all.
    config['vision_cfg']['layers'] = min(config['vision_cfg']['layers'], 12)
    with torch.device('meta'):
        visual = open_clip.CLIP(**config).visual
    patch = visual.patch_size[0]
    for preset in LAST_BLOCKS:
        encoder = build_dense_encoder(
            visual, last_block=preset, position_resize='scale_factor', padding='centred'
        ).to('meta')
        image = torch.empty(2, 3, 6 * patch + 3, 9 * patch, device='meta')
        assert encoder(image).patch.shape == (2, visual.output_dim, 7, 9)
