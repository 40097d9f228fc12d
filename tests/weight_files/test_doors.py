"""Every way by which weights come in, with every kind of file that is none."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from crafted_files import MAKERS
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from scripts import load_script
from tiny_clip_models import VIT
from tiny_companions import SAM
from tiny_companions import VIT as DINO
from torch import nn

from ovseg.apis.building import build_model
from ovseg.encoders import load_clip
from ovseg.encoders.adapted_clip import AdaptedCLIP
from ovseg.encoders.clip_initialisation import clip_state
from ovseg.encoders.dino import load_dino
from ovseg.encoders.dinov2 import load_dinov2
from ovseg.encoders.dinov3 import load_dinov3
from ovseg.encoders.found import FOUND
from ovseg.encoders.maskclip_format import read_maskclip_files
from ovseg.encoders.radio import load_radio
from ovseg.encoders.sam import load_sam
from ovseg.engine import load_checkpoint_strict, read_checkpoint
from ovseg.engine.checkpoint import install_safe_loading
from ovseg.engine.runner import OVRunner
from ovseg.errors import UserError, run_cli
from ovseg.guides import DINOiserGuide
from ovseg.regions import RegionFolder
from ovseg.regions.retrieval import RetrievalBank
from ovseg.segmentors import CLIPDINOiser
from ovseg.text.row_files import read_row_file

SECONDS = 10
IMAGE = np.zeros((5, 7, 3), np.uint8)


def segmentor(path, **settings):
    """A config's model with a file of the user's, as the demo and Python build it."""
    model = dict(
        type='TrainingFreeSegmentor',
        clip={'model': VIT, 'pretrained': 'random'},
        text={'templates': 'single', 'cache_dir': None},
        vocabulary='cat; sofa',
        **settings,
    )
    return build_model(Config({'model': model}), path)


def tool(name, *arguments):
    """A script whose error is one line, which is raised again."""
    script = load_script(name)

    def call(path):
        raised = []

        def main():
            try:
                return script.main([str(argument or path) for argument in arguments])
            except Exception as error:
                raised.append(error)
                raise

        assert run_cli(main) == 2
        raise raised[0]

    return call


def region_map(suffix):
    """A folder of region maps in which the file is the map of an image."""

    def call(path):
        place = path.parent / f'image{suffix}'
        place.unlink(missing_ok=True)
        place.symlink_to(path)
        try:
            RegionFolder(path.parent).regions(IMAGE, 'image.jpg')
        finally:
            place.unlink()

    return call


def pretrained_of_mmengine(path):
    install_safe_loading()
    BaseModule(init_cfg={'type': 'Pretrained', 'checkpoint': str(path)}).init_weights()
    # mmengine itself lets weights pass that fit nothing.
    raise UserError('not refused, but nothing of it was taken')


DOORS = {
    'clip.pretrained': lambda path: load_clip(VIT, path),
    'clip.maskclip_files': lambda path: read_maskclip_files([path]),
    'clip_state': lambda path: clip_state(path, keep=False),
    'adapted CLIP': AdaptedCLIP.read,
    'text rows': read_row_file,
    'sam': lambda path: load_sam(SAM, path),
    'dino': lambda path: load_dino(DINO, path),
    'dinov2': lambda path: load_dinov2(DINO, path),
    'dinov3': lambda path: load_dinov3(DINO, path),
    'radio': lambda path: load_radio(DINO, path),
    'found': lambda path: FOUND({'model': DINO, 'pretrained': 'random'}, path),
    'guide': lambda path: DINOiserGuide(in_channels=4, channels=2, weights=path),
    'bank.keys': lambda path: RetrievalBank(path, torch.ones(2, 3), num_support=1),
    'place_checkpoint': lambda path: load_clip(
        VIT, CLIPDINOiser.place_checkpoint({'clip': {}, 'guide': {}}, path) or path
    ),
    'read_checkpoint': lambda path: load_checkpoint_strict(
        nn.Linear(2, 2), [read_checkpoint(path), path][1]
    ),
    'load_checkpoint_strict': lambda path: load_checkpoint_strict(nn.Linear(2, 2), path),
    'runner': lambda path: OVRunner.load_checkpoint(
        SimpleNamespace(call_hook=lambda *_, **__: None, segmentor=nn.Linear(2, 2)), str(path)
    ),
    'init_cfg': pretrained_of_mmengine,
    'checkpoint of the demo': segmentor,
    'region map .npy': region_map('.npy'),
    'region map .npz': region_map('.npz'),
    'region map .png': region_map('.png'),
    'export clip-dinoiser': tool('export', 'clip-dinoiser', None, 'out.pt'),
    'export weights': tool('export', 'weights', None, 'out.safetensors'),
    'convert_detectron2_backbone': tool('convert_detectron2_backbone', None, 'out.pth'),
}
# What is none of a door's: a tool that takes any tensors may take these; no folder has this name.
SENSELESS = {
    ('export weights', 'torchscript_that_writes_when_run'),
    *((f'region map {suffix}', 'name_too_long') for suffix in ('.npy', '.npz', '.png')),
}
CASES = [(door, kind) for door in DOORS for kind in MAKERS if (door, kind) not in SENSELESS]


class Late(BaseException):
    """No error that a reader could turn into a sentence."""


@pytest.fixture(scope='module')
def crafted(tmp_path_factory):
    """Files by kind, and the folder in which nothing may appear."""
    folder = tmp_path_factory.mktemp('crafted')
    canary = tmp_path_factory.mktemp('canary')
    return {kind: make(folder, canary) for kind, make in MAKERS.items()}, canary


@pytest.fixture(autouse=True)
def _bounded(monkeypatch, tmp_path):
    """Nothing hangs, mmengine's loaders stay as they were, tools write into a folder of theirs."""
    loader = mmengine_checkpoint.CheckpointLoader
    monkeypatch.setattr(loader, '_schemes', loader._schemes.copy())
    for name in ('load_from_local', 'load_from_http'):
        monkeypatch.setattr(mmengine_checkpoint, name, getattr(mmengine_checkpoint, name))
    monkeypatch.chdir(tmp_path)

    def late(*_):
        raise Late(f'took over {SECONDS} seconds')

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(('door', 'kind'), CASES)
def test_a_file_that_is_no_weights_is_refused_and_runs_nothing(door, kind, crafted, tmp_path):
    files, canary = crafted
    try:
        DOORS[door](files[kind])
    except (UserError, FileNotFoundError) as error:
        sentence = str(error)
        assert '\n' not in sentence and 'weights_only' not in sentence and len(sentence) < 900
    else:
        pytest.fail('it was taken')
    assert not list(canary.iterdir())
    assert not list(tmp_path.iterdir()), 'a tool left something'


@pytest.mark.parametrize(
    'kind', ['torchscript_that_writes_when_read', 'torchscript_that_writes_among_weights']
)
def test_the_archives_would_have_written(kind, tmp_path):
    (tmp_path / 'canary').mkdir()
    torch.jit.load(MAKERS[kind](tmp_path, tmp_path / 'canary'))
    assert (tmp_path / 'canary' / 'script').read_bytes() == b'A' * 64


@pytest.mark.parametrize('kind', ['zip_that_writes', 'old_format_that_writes'])
def test_the_pickles_would_have_written(kind, tmp_path):
    (tmp_path / 'canary').mkdir()
    torch.load(MAKERS[kind](tmp_path, tmp_path / 'canary'), weights_only=False)
    assert (tmp_path / 'canary' / 'written').read_text() == 'harm'


# Names by which a door knows its own.
NAMES = {'found': 'decoder.weight'}
MATRICES = {'text rows', 'bank.keys'}
# A tool that only changes the form of pickled weights, and what holds whole numbers.
WITHOUT_FRACTIONS = {
    'convert_detectron2_backbone',
    *(f'region map {suffix}' for suffix in ('.npy', '.npz', '.png')),
}


@pytest.mark.parametrize('door', sorted(DOORS.keys() - WITHOUT_FRACTIONS))
@pytest.mark.parametrize('value', [float('nan'), float('inf')], ids=['nan', 'inf'])
def test_weights_that_are_no_numbers_are_said_to_be(door, value, tmp_path_factory):
    path = tmp_path_factory.mktemp('bad') / 'bad.pt'
    rows = torch.full((3, 2), value)
    name = NAMES.get(door, 'visual.proj')
    flat = {name: rows}
    nested = {'state_dict': flat} if door == 'clip.maskclip_files' else flat
    torch.save(rows if door in MATRICES else nested, path)
    with pytest.raises(UserError, match='NaN or infinite'):
        DOORS[door](path)
