"""Segments by the demo."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from PIL import Image
from scripts import load_script

image_demo = load_script('image_demo', 'demo')


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({'model': tiny_ovseg.build(seed=1).to_published()}, 'tiny.pth')
    resize = {'type': 'AntialiasedResize', 'scale': (128, 64)}
    Config({'model': tiny_ovseg.config(), 'resize': resize}).dump('tiny.py')
    (tmp_path / 'photos').mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f'photos/{seed}.png')

    def run(image, *arguments, model=('tiny.py', '--checkpoint', 'tiny.pth'), threshold='0'):
        words = ('cat; sofa; sky', '--threshold', threshold)
        code = image_demo.main([image, *words, *arguments, '--model', *model])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(('task', 'kind'), [('panoptic', 'panoptic'), ('instance', 'instances')])
def test_one_image(demo, tmp_path, task, kind):
    code, out, err = demo('photos/0.png', '--task', task, '--stuff', 'sky')
    assert (code, err) == (0, '')
    files = {path.name for path in (tmp_path / 'outputs').iterdir()}
    extra = {'0_panoptic.png'} if task == 'panoptic' else set()
    assert files == {'0_overlay.png', f'0_{kind}.json'} | extra
    assert 'id  class' in out and f'0_{kind}.json' in out
    assert json.loads((tmp_path / 'outputs' / f'0_{kind}.json').read_text())['images']


@pytest.mark.parametrize(('task', 'kind'), [('panoptic', 'panoptic'), ('instance', 'instances')])
def test_a_folder_counts_segments(demo, tmp_path, task, kind):
    code, out, _ = demo('photos', '--task', task, '--save', kind)
    assert code == 0 and '2 of 2 images' in out
    found = []
    for seed in range(2):
        content = json.loads((tmp_path / 'outputs' / f'{seed}_{kind}.json').read_text())
        (own,) = content['annotations'] if task == 'panoptic' else [content]
        names = {each['id']: each['name'] for each in content['categories']}
        segments = own['segments_info' if task == 'panoptic' else 'annotations']
        found.append(Counter(names[each['category_id']] for each in segments))
    lines = out.splitlines()
    header = lines.index(next(line for line in lines if line.startswith('class')))
    assert lines[header].split() == ['class', 'images', 'segments', 'mean', 'area']
    rows = [line.split() for line in lines[header + 2 : lines.index('', header)]]
    assert {name: (int(images), int(count)) for name, images, count, *_ in rows} == {
        name: (sum(name in each for each in found), count)
        for name, count in (found[0] + found[1]).items()
    }


@pytest.mark.parametrize('images', ['photos', 'photos/0.png'])
def test_no_segment_at_all_is_said(demo, tmp_path, images):
    code, out, err = demo(images, '--task', 'instance', '--save', 'instances', threshold='1')
    assert code == 0 and 'error' not in err
    assert 'no segment found: a smaller --threshold' in out and 'class' not in out
    content = json.loads((tmp_path / 'outputs' / '0_instances.json').read_text())
    assert content['annotations'] == [] and len(content['categories']) == 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--task', 'panoptic', '--save', 'labels'), '--save labels belongs to --task semantic'),
        (('--save', 'panoptic'), '--save panoptic belongs to --task panoptic; --task semantic'),
        (('--save', 'instances'), 'belongs to --task panoptic or instance; --task semantic saves'),
        (('--task', 'instance', '--stuff', 'sk'), "Did you mean 'sky'?"),
        (('--stuff', 'sky'), 'add --task panoptic'),
    ],
)
def test_what_does_not_fit_the_task_is_one_sentence(demo, tmp_path, arguments, message):
    code, out, err = demo('photos', *arguments)
    assert (code, out) == (2, '') and message in err and err.count('\n') == 1
    assert not (tmp_path / 'outputs').exists()


def test_a_model_without_proposals_is_told_before_the_first_image(demo):
    code, _, err = demo('photos', '--task', 'panoptic', model=('maskclip-tiny',))
    assert code == 2 and 'proposes no masks' in err
