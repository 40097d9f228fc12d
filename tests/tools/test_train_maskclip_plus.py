from __future__ import annotations

import json

import pytest
import torch
from scripts import load_script
from tool_runs import ROOT, read_result, run_tool

from ovseg import OpenVocabSegmenter
from ovseg.engine import read_checkpoint
from ovseg.errors import UserError

benchmark, image_demo = load_script('benchmark'), load_script('image_demo', 'demo')

CONFIG = ROOT / 'configs' / 'maskclip_plus' / 'maskclip_plus_tiny_scenes.py'


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The tiny student in both phases, with transforms that draw random numbers."""
    path = tmp_path_factory.mktemp('student') / 'student.py'
    path.write_text(
        f"""
_base_ = {str(CONFIG)!r}
model = dict(
    backbone=dict(base_channels=4),
    decode_head=dict(decode_module=dict(in_channels=16)),
    teacher=dict(text=dict(cache_dir=None), test_cfg=dict(stride=(32, 32))),
    pseudo_labels=dict(clip_guided=(1, 3), self_training=(4, None)),
)
resize = dict(scale=(64, 64), keep_ratio=True)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        num_scenes=8,
        resize=resize,
        pipeline=[
            dict(type='LoadScene'),
            dict(type='SuppressLabels'),
            dict(type='RandomCrop', crop_size=(48, 48)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(dataset=dict(num_scenes=3, resize=resize))
train_cfg = dict(max_iters=6)
default_hooks = dict(
    checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1)
)
""",
        encoding='utf-8',
    )
    return path


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp('whole')
    assert run_tool('train', config, '--work-dir', folder) == 0
    return folder


def test_a_resumed_training_goes_on_in_its_phase_bit_by_bit(config, whole, tmp_path):
    parts = tmp_path / 'parts'
    assert run_tool('train', config, '--work-dir', parts) == 0
    # As if the run had been killed while its third iteration, the last guided one, was written.
    for step in (3, 4, 5, 6):
        (parts / f'iter_{step}.pth').unlink()
    (parts / 'last_checkpoint').write_text('')
    (parts / '.writing-iter_3.pth').write_bytes(b'half')
    assert run_tool('train', config, '--work-dir', parts, '--resume') == 0
    expected = read_checkpoint(whole / 'iter_6.pth')
    resumed = read_checkpoint(parts / 'iter_6.pth')
    assert resumed['state_dict']['iterations'] == 6
    assert resumed['state_dict'].keys() == expected['state_dict'].keys()
    for name, value in expected['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], value), name
    for key, state in expected['optimizer']['state'].items():
        assert torch.equal(resumed['optimizer']['state'][key]['exp_avg'], state['exp_avg'])


def test_a_trained_student_is_tested_exported_and_tested_again(config, whole, tmp_path):
    checkpoint = whole / 'iter_6.pth'
    assert run_tool('test', config, checkpoint, '--work-dir', tmp_path / 'ours') == 0
    first = read_result(tmp_path / 'ours')
    assert first['protocol']['model']['trained_iterations'] == '6'
    assert first['protocol']['templates'] == 'a(n) {}'
    released = tmp_path / 'released.pth'
    assert run_tool('export', 'maskclip-plus', config, checkpoint, released) == 0
    keys = read_checkpoint(released)['state_dict']
    assert 'decode_head.clip.cls_token' in keys and keys['decode_head._iter_counter'] == 6
    assert run_tool('test', config, released, '--work-dir', tmp_path / 'theirs') == 0
    assert read_result(tmp_path / 'theirs')['metrics'] == first['metrics']
    # A student that is deployed needs no CLIP.
    words = ('--cfg-options', 'model.teacher=None')
    assert run_tool('test', config, checkpoint, '--work-dir', tmp_path / 'alone', *words) == 0
    assert read_result(tmp_path / 'alone')['metrics'] == first['metrics']


def test_the_demo_and_the_python_interface_take_a_trained_student(config, whole, tmp_path, capsys):
    image = ROOT / 'demo' / 'scene.png'
    words = [str(image), 'sky; grass; star', '--model', str(config), '--out-dir', str(tmp_path)]
    assert image_demo.main(words) == 2
    assert 'is a trained one: give its checkpoint' in capsys.readouterr().err
    checkpoint = str(whole / 'iter_6.pth')
    assert image_demo.main([*words, '--checkpoint', checkpoint]) == 0
    assert len(list(tmp_path.glob('scene*'))) == 3
    # Without words it looks for the classes that it was trained for.
    own = [words[0], *words[2:4], '--checkpoint', checkpoint, '--out-dir', str(tmp_path / 'own')]
    assert image_demo.main(own) == 0
    facts = json.loads((tmp_path / 'own' / 'scene.json').read_text(encoding='utf-8'))
    assert len(facts['vocabulary']) == 17
    segment = OpenVocabSegmenter(config, checkpoint, device='cpu')
    result = segment(image, 'sky; grass; star', scores=True)
    assert result.labels.shape == result.image.shape[:2] and result.labels.max() <= 2
    assert result.scores.shape[0] == 3
    assert len(segment(image).names) == 17
    with pytest.raises(UserError, match='was trained with its own words'):
        OpenVocabSegmenter(config, checkpoint, templates='single')


def test_the_benchmark_times_a_student(config, capsys):
    words = (
        '--pretrained',
        'random',
        '--repeat',
        '1',
        '--image-size',
        '64',
        '64',
        '--classes',
        '3',
    )
    assert benchmark.main([str(config), *words]) == 0
    assert 'images/s' in capsys.readouterr().out
