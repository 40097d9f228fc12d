from __future__ import annotations

import json
import warnings

import cv2
import numpy as np
import pytest
import torch
from tiny_clip_models import VIT
from tiny_companions import VIT as TINY_DINO
from tiny_companions import Checkerboard

from ovseg.apis.building import build_model
from ovseg.cli import bank_folder
from ovseg.cli.command import main
from ovseg.config_files import read_config
from ovseg.errors import Notice
from ovseg.regions.retrieval import RetrievalBank

CONFIG = """
model = dict(
    type='CorrCLIP',
    regions=dict(type='RegionFolder', folder={maps!r}),
    clip=dict(model={clip!r}, pretrained='random'),
    encoder=dict(
        type='CorrCLIPEncoder',
        companion=dict(type='{kind}', model={radio!r}, pretrained='random'),
        companion_sees='{sees}', merge_distance=None, spatial_blocks=1,
        position_resize='scale_factor', padding='centred', padding_multiple=16,
    ),
    bank=dict(keys='nowhere.pt', embeddings='nowhere.pt'),
    text=dict(templates='single', cache_dir=None),
    test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)),
)
"""
RADIO = {**TINY_DINO, 'reg_tokens': 2, 'embed_dim': 32}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three photos in two folders, their region maps, and a config."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for place in ('a.png', 'b.png', 'more/a.png'):
        for folder in ('photos', 'maps'):
            (tmp_path / folder / place).parent.mkdir(parents=True, exist_ok=True)
        image = generator.integers(0, 256, (40, 52, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'photos' / place), image)
        regions = Checkerboard(16).regions(image)
        np.savez((tmp_path / 'maps' / place).with_suffix('.npz'), instance_mask=regions)
    for name, kind, sees in (
        ('config', 'RADIOCompanion', 'image'),
        ('first', 'DINOCompanion', 'windows'),
    ):
        text = CONFIG.format(
            maps=str(tmp_path / 'maps'), clip=VIT, radio=RADIO, kind=kind, sees=sees
        )
        (tmp_path / f'{name}.py').write_text(text)
    return tmp_path


def bank(*words, side='32'):
    return main(['bank', 'photos', 'out', '--short-side', side, '--device', 'cpu', *words])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_bank_has_a_row_for_each_claimed_region_and_a_model_looks_it_up(world, capsys):
    assert bank('--model', 'config.py', '--auxiliary', 'config.py') == 0
    assert 'out: 27 regions of 3 images, 3 of them new' in capsys.readouterr().out
    images = lines(world / 'out' / 'images.jsonl')
    # Squares of 16 in 40 x 52 pixels: twelve, of which three on the diagonal are unclaimed.
    assert images == [
        {'image': 'a.png', 'first': 0, 'regions': 9},
        {'image': 'b.png', 'first': 9, 'regions': 9},
        {'image': 'more/a.png', 'first': 18, 'regions': 9},
    ]
    files = {
        name: str(world / 'out' / f'{name}.npy') for name in ('keys', 'embeddings', 'auxiliary')
    }
    found = RetrievalBank(**files, num_support=1)
    assert (len(found.keys), found.keys.channels, found.embeddings.shape[1]) == (27, 32, 24)
    assert found.embeddings.dtype == torch.float16
    assert torch.equal(found.nearest(found.keys.values)[:, 0], torch.arange(27))
    assert torch.allclose(found.embeddings.float().norm(dim=1), torch.ones(27), atol=1e-2)


def test_a_bank_of_another_model_is_told(world):
    assert bank('--model', 'config.py') == 0
    config = read_config(world / 'config.py')
    place = world / 'out'
    config.model.bank = {name: str(place / f'{name}.npy') for name in ('keys', 'embeddings')}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build_model(config)
    manifest = json.loads((place / 'bank.json').read_text())
    manifest['embeddings'] = 'another CLIP'
    (place / 'bank.json').write_text(json.dumps(manifest))
    with pytest.warns(Notice, match='was built with embeddings of another CLIP, and here they are'):
        build_model(config)


def test_a_killed_run_goes_on_and_more_images_extend_the_bank(world, capsys, monkeypatch):
    real, calls = bank_folder._add, []

    def killed(image, *rest):
        calls.append(image.place)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(image, *rest)

    monkeypatch.setattr(bank_folder, '_add', killed)
    assert bank('--model', 'config.py') == 130
    assert not (world / 'out' / 'keys.npy').exists()
    first = (world / 'out' / 'parts' / 'a.png.safetensors').read_bytes()
    assert bank('--model', 'config.py') == 0
    assert '2 of them new' in capsys.readouterr().out
    assert (world / 'out' / 'parts' / 'a.png.safetensors').read_bytes() == first
    (world / 'photos' / 'c.png').write_bytes((world / 'photos' / 'b.png').read_bytes())
    (world / 'maps' / 'c.npz').write_bytes((world / 'maps' / 'b.npz').read_bytes())
    assert bank('--model', 'config.py') == 0
    assert 'out: 36 regions of 4 images, 1 of them new' in capsys.readouterr().out
    assert len(np.load(world / 'out' / 'keys.npy')) == 36


def test_broken_images_are_listed_and_left_out(world, capsys):
    (world / 'photos' / 'b.png').write_bytes(b'no picture')
    (world / 'maps' / 'more' / 'a.npz').unlink()
    (world / 'maps' / 'a.npz').rename(world / 'maps' / 'only.npz')
    (world / 'photos' / 'only.png').write_bytes((world / 'photos' / 'a.png').read_bytes())
    assert bank('--model', 'config.py') == 1
    told = capsys.readouterr()
    assert 'out: 9 regions of 1 images' in told.out
    assert '3 images failed and are left out' in told.err
    assert 'b.png' in told.err and 'has no region map for a.png' in told.err
    assert lines(world / 'out' / 'images.jsonl')[0]['image'] == 'only.png'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--model', 'first.py'], 'is no CorrCLIP whose companion sees the whole image'),
        (['--model', 'maskclip-tiny'], 'is no CorrCLIP whose companion sees the whole image'),
        (['--model', 'config.py', '--regions', 'nowhere'], 'nowhere'),
        (['--model', 'config.py', '--auxiliary-checkpoint', 'x'], 'goes with --auxiliary'),
        (['--model', 'config.py', '--index'], 'an index needs at least 256 keys'),
    ],
)
def test_what_cannot_be_done_is_one_sentence(world, words, message, capsys):
    if '--index' in words:
        pytest.importorskip('faiss')
    assert bank(*words) == 2
    told = capsys.readouterr().err
    assert message in told and 'Traceback' not in told


def test_another_bank_is_not_extended(world, capsys):
    assert bank('--model', 'config.py') == 0
    assert bank('--model', 'config.py', side='48') == 2
    assert 'holds a bank with other short side (32, not 48)' in capsys.readouterr().err
