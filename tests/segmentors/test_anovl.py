"""AnoVL: scratches on materials of Scenes, by the tiny CLIP."""

from __future__ import annotations

import json

import pytest
import torch
from scratched import write_scratched
from tiny_segmentors import CLIP, PREPROCESSOR, pictures

from ovseg.cli.test import main
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.scores.anomaly import state_maps
from ovseg.segmentors import AnoVL


def build(**settings):
    torch.manual_seed(0)
    given = {'clip': CLIP, 'text': {'cache_dir': None}, 'data_preprocessor': PREPROCESSOR}
    given['states'] = {'normal': ['{}'], 'abnormal': ['a damaged {}', '{} with flaw']}
    return AnoVL(**{**given, 'encoder': {'last_block': 'vv-all'}, **settings}).eval()


def soft(model, names=None, size=(20, 30)):
    with torch.no_grad():
        (encoding,) = model.encode(Images(pictures((32, 48)).inputs, names=names))
        return model.segment(encoding, size, keep_scores=True).scores


def test_scratches_are_found_without_an_example_of_one(tmp_path):
    for name in ('grass', 'sand'):
        write_scratched(tmp_path / 'data', name)
    place = str(tmp_path / 'run')
    options = [
        f'test_dataloader.dataset.data_root={tmp_path / "data"}',
        'test_dataloader.num_workers=0',
    ]
    assert main(['anovl_tiny', '--work-dir', place, '--quiet', '--cfg-options', *options]) == 0
    (file,) = (tmp_path / 'run').glob('*/result.json')
    found = json.loads(file.read_text())
    assert found['metrics']['pixel_AUROC'] > 80 and found['metrics']['AUPRO'] > 60
    assert set(found['objects']) == {'grass', 'sand'}
    assert found['protocol']['headline'].startswith('pixel_AUROC')


def test_maps_are_shares_of_two_states_and_depend_on_the_image_alone():
    model = build(adapter={'steps': 2})
    scores = soft(model)
    assert scores.shape == (2, 20, 30) and torch.allclose(scores.sum(0), torch.ones(20, 30))
    assert torch.equal(scores, soft(model)) and not torch.allclose(scores, soft(build()))
    with torch.inference_mode():
        assert torch.equal(scores, soft(model))


def test_the_object_is_the_folders_or_the_configs():
    path = 'data/metal_nut/test/bent/0.png'
    by_folder = soft(build(), [path])
    assert torch.equal(by_folder, soft(build(object_name='metal_nut')))
    assert torch.equal(soft(build()), soft(build(object_name='object')))
    assert not torch.equal(by_folder, soft(build()))


def test_corners_of_a_map_keep_their_place():
    shares = torch.zeros(1, 4, 4, 1)
    shares[0, 0, 0] = 9.0
    maps = state_maps(shares, (16, 16))[0, 0]
    assert maps[0, 0] == maps.max() == 4 and maps[-1, -1] == 0  # four of nine are the corner


def test_without_states_of_a_config_there_are_twice_462_sentences():
    model = build(states=None, object_name='ax')
    assert [len(encoded) for encoded in model.sentences_of('ax')] == [462, 462]


def test_settings_that_do_not_go_are_told():
    with pytest.raises(UserError, match=r'takes no other words \(cat; dog\).*model.object_name'):
        build().set_vocabulary('cat; dog')
    with pytest.raises(UserError, match="mode of AnoVL is 'whole'"):
        build(test_cfg={'mode': 'slide', 'crop_size': 32, 'stride': 16})
    with pytest.raises(UserError, match='model.states gives sentences for'):
        build(states={'normal': ['{}']})
    with pytest.raises(UserError, match='takes cache_dir alone, got templates'):
        build(text={'templates': 'single'})
    with pytest.raises(UserError, match='steps from 1'):
        build(adapter={'steps': 0})
