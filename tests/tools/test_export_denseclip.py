"""A DenseCLIP without its text tower says the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors.torch import load_file
from tiny_dense_clip import write_dense_clip
from tool_runs import run_tool

from ovseg import OpenVocabSegmenter
from ovseg.registry import MODELS


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return write_dense_clip(tmp_path_factory.mktemp('trained'))


def without_text_tower(config, folder):
    path = folder / 'exported.py'
    path.write_text(f'_base_ = {str(config)!r}\nmodel = dict(text_encoder=None)\n')
    return path


@pytest.mark.parametrize(('dtype', 'same'), [('float32', 1.0), ('float16', 0.99)])
def test_the_exported_model_gives_the_labels_of_the_original(
    trained, dtype, same, tmp_path, capsys
):
    config, checkpoint = trained
    out = tmp_path / 'small.safetensors'
    assert run_tool('export', 'denseclip', config, checkpoint, out, '--dtype', dtype) == 0
    state = load_file(out)
    kept = {value.dtype for value in state.values() if value.is_floating_point()}
    assert kept == {getattr(torch, dtype)}
    assert not [name for name in state if name.startswith('text_encoder.') or name == 'contexts']
    printed = capsys.readouterr().out
    whole, tower, written = map(float, re.findall(r'([\d.]+) MB', printed))
    assert written == pytest.approx(out.stat().st_size / 1e6, abs=0.06)
    share = {'float32': 1, 'float16': 2}[dtype]
    assert written == pytest.approx((whole - tower) / share, abs=0.2)

    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    original = OpenVocabSegmenter(config, checkpoint)(image, scores=True)
    exported = OpenVocabSegmenter(without_text_tower(config, tmp_path), out)(image, scores=True)
    assert exported.names == original.names and len(np.unique(original.labels)) > 1
    assert (exported.labels == original.labels).mean() >= same
    assert np.abs(exported.scores - original.scores).max() < (1e-6 if same == 1 else 0.05)


def test_what_cannot_be_exported_is_said(trained, tmp_path, capsys):
    config, checkpoint = trained
    out = tmp_path / 'small.safetensors'
    assert run_tool('export', 'denseclip', config, checkpoint, tmp_path / 'small.pth') == 2
    assert 'must end in .safetensors' in capsys.readouterr().err
    exported = without_text_tower(config, tmp_path)
    assert run_tool('export', 'denseclip', exported, checkpoint, out) == 2
    assert 'has no model.text_encoder' in capsys.readouterr().err
    baseline = 'denseclip/fpn_clip_tiny_600_scenes-192x192.py'
    assert run_tool('export', 'denseclip', baseline, checkpoint, out) == 2
    assert 'is no config of a DenseCLIP' in capsys.readouterr().err
    assert not out.exists()


def test_a_text_tower_that_reads_the_image_stays(trained, tmp_path, capsys):
    config, checkpoint = trained
    path = tmp_path / 'pre.py'
    path.write_text(f"_base_ = {str(config)!r}\nmodel = dict(prompting='pre')\n")

    with DefaultScope.overwrite_default_scope('ovseg'):
        torch.save(MODELS.build(Config.fromfile(path).model).state_dict(), tmp_path / 'pre.pth')
    words = (path, tmp_path / 'pre.pth', tmp_path / 'small.safetensors')
    assert run_tool('export', 'denseclip', *words) == 2
    assert "prompting='pre' needs its text tower" in capsys.readouterr().err
