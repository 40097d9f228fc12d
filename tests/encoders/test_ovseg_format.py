from __future__ import annotations

from functools import partial

import open_clip
import published_ovseg as published
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT
from torch import nn

from ovseg.encoders.ovseg_format import backbone_from_ovseg, from_ovseg, to_ovseg
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.weight_files import describe_mismatch, inverse, rename

MANIFESTS = {
    'swin-b': (published.swin_b_vit_l, 954, 'ViT-L-14'),
    'r101c': (published.r101c_vit_b, 983, 'ViT-B-16'),
}


def on_meta(shapes):
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


def built(model, clip):
    """The parts of the config, and the CLIP, at full size without memory."""
    config = Config.fromfile(ROOT / f'configs/_base_/models/ovseg_maskformer_{model}.py').model
    with torch.device('meta'), DefaultScope.overwrite_default_scope('ovseg'):
        parts = {name: MODELS.build(config[name]) for name in ('backbone', 'proposals')}
        tower = open_clip.CLIP(**open_clip.get_model_config(clip), quick_gelu=True)
        visual = tower.visual
        patches = visual.positional_embedding.shape[0] - 1
        visual.mask_embedding = nn.Parameter(
            torch.empty(3, patches, visual.class_embedding.numel())
        )
    return nn.ModuleDict({**parts, 'clip': tower})


@pytest.mark.parametrize('model', MANIFESTS)
def test_every_published_key_has_one_place_in_the_full_size_model_and_back(model, monkeypatch):
    # Swin reads its drop rates from a tensor, which the meta device cannot.
    monkeypatch.setattr(torch, 'linspace', partial(torch.linspace, device='cpu'))
    manifest, count, clip = MANIFESTS[model]
    shapes = manifest()
    assert len(shapes) == count
    ours = from_ovseg(on_meta(shapes))
    wanted = {
        name: value
        for name, value in built(model, clip).state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    assert not describe_mismatch(wanted, ours)
    assert len(ours) == count - 3  # the constants
    back = to_ovseg(ours)
    assert {name: tuple(value.shape) for name, value in back.items()} == shapes


def small_state():
    shapes = published.swin(8, (1, 1, 1, 1), (1, 1, 1, 1), 2)
    state = {
        name: torch.randn(shape) for name, shape in published.below('backbone', shapes).items()
    }
    state['sem_seg_head.pixel_decoder.adapter_1.weight'] = torch.randn(4, 8, 1, 1)
    state['sem_seg_head.pixel_decoder.mask_features.bias'] = torch.randn(4)
    state['sem_seg_head.predictor.query_embed.weight'] = torch.randn(2, 4)
    return state


def test_values_survive_the_way_there_and_back():
    state = small_state()
    back = to_ovseg(from_ovseg(state), num_classes=5)
    constants = {name: back.pop(name) for name in set(back) - set(state)}
    assert back.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(back[name], value), name
    assert constants['criterion.empty_weight'].tolist() == pytest.approx([1, 1, 1, 1, 1, 0.1])
    mean = constants['clip_adapter.pixel_mean'].flatten()
    assert mean.tolist() == pytest.approx([122.7709, 116.7460, 104.0937], abs=1e-4)


def test_patch_merging_sees_the_same_pixels():
    """The published order is that of the four slices below; mmseg's is an unfold's."""
    from mmseg.models.utils.embed import PatchMerging

    state = {
        'layers.0.downsample.reduction.weight': torch.randn(6, 12),
        'layers.0.downsample.norm.weight': torch.randn(12),
        'layers.0.downsample.norm.bias': torch.randn(12),
    }
    image = torch.randn(1, 4, 6, 3)
    slices = [image[:, y::2, x::2] for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))]
    joined = torch.cat(slices, dim=-1).flatten(1, 2)
    weight, bias = (state[f'layers.0.downsample.norm.{name}'] for name in ('weight', 'bias'))
    normed = nn.functional.layer_norm(joined, (12,), weight, bias)
    wanted = normed @ state['layers.0.downsample.reduction.weight'].T
    merging = PatchMerging(3, 6)
    ours = backbone_from_ovseg(state)
    merging.load_state_dict({k.removeprefix('stages.0.downsample.'): v for k, v in ours.items()})
    found, size = merging(image.flatten(1, 2), (4, 6))
    assert size == (2, 3)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('prefix', ['', 'pixel_decoder.', 'pixel_decoder.pixel_decoder.'])
def test_the_pixel_decoder_prefix_may_be_missing_there_or_doubled(prefix):
    state = {f'sem_seg_head.{prefix}layer_4.norm.bias': torch.ones(2)}
    assert list(from_ovseg(state)) == ['proposals.pixel_decoder.last_feat_conv.gn.bias']


def test_a_state_dict_of_ours_passes_as_it_is():
    state = {'proposals.query_embed.weight': torch.ones(1), 'backbone.norm0.bias': torch.ones(1)}
    assert from_ovseg(state) == state


def test_towers_go_where_the_model_has_them():
    state = {
        'clip_adapter.clip_model.visual.mask_embedding': torch.ones(1),
        'clip_adapter.clip_model.ln_final.bias': torch.ones(1),
    }
    prefixes = {'visual': 'region_encoder.', 'text': 'text_encoder.'}
    ours = from_ovseg(state, **prefixes)
    assert list(ours) == ['region_encoder.mask_embedding', 'text_encoder.ln_final.bias']
    assert set(state) <= set(to_ovseg(ours, **prefixes))


def test_a_strange_key_stops_with_its_name():
    strange = {'sem_seg_head.predictor.new.weight': torch.ones(1)}
    with pytest.raises(UserError, match='sem_seg_head.predictor.new.weight'):
        from_ovseg(strange)
    with pytest.raises(UserError, match='proposals.new'):
        to_ovseg({'proposals.new': torch.ones(1)})
    with pytest.raises(UserError, match='fc.weight'):
        backbone_from_ovseg({'fc.weight': torch.ones(1)})


def test_counters_of_batch_norm_are_not_published():
    state = {'backbone.layer1.0.bn1.bias': torch.ones(1)}
    saved = to_ovseg({**state, 'backbone.layer1.0.bn1.num_batches_tracked': torch.tensor(3)})
    assert [name for name in saved if 'backbone' in name] == ['backbone.res2.0.conv1.norm.bias']


def test_the_first_pattern_counts_and_numbers_stay():
    names = [('a.{}.b', 'x.{}'), ('a.{}.*', 'y.{}.*')]
    assert rename('a.3.b', names) == 'x.3'
    assert rename('a.3.c.d', names) == 'y.3.c.d'
    assert rename('a.c.d', names) is None
    assert rename('y.3.c.d', inverse(names)) == 'a.3.c.d'
