"""The benchmark measures, compares and reports."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from counted_phrases import count_phrases
from mmengine.config import Config
from PIL import Image
from tiny_dense_clip import CLASSES, write_dense_clip

from ovseg.apis.profiling import MemoryPeak, StageClock
from ovseg.cli import benchmark_models, command
from ovseg.images import Images
from ovseg.stages import stage

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests' / 'data' / 'configs' / 'random_tiny.py'

sys.path.insert(0, str(ROOT / 'tools'))
import benchmark  # noqa: E402

QUICK = ('--repeat', '2', '--image-size', '60', '90', '--device', 'cpu')


def test_figures_of_one_config(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    code = benchmark.main([str(CONFIG), *QUICK, '--classes', '5', '--json', str(path)])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, '')
    for name in [
        'preprocess',
        'encoder',
        'scores',
        'refiners',
        'pixel refiner',
        'upsample + argmax',
    ]:
        assert name in captured.out
    content = json.loads(path.read_text())
    assert content['machine']['torch'] == torch.__version__
    (figures,) = content['results']
    assert figures['classes'] == 5
    assert figures['image'] == [60, 90]
    assert figures['input'] == [64, 96]
    assert len(figures['seconds']) == 2
    for run, whole in enumerate(figures['seconds']):
        stages = sum(seconds[run] for seconds in figures['stages'].values())
        assert 0 < stages <= whole
    assert figures['images_per_second'] == pytest.approx(1 / figures['seconds_per_image'])
    assert figures['model_megabytes'] > 1


def test_a_trained_model_keeps_its_own_classes(tmp_path, capsys):
    config, checkpoint = write_dense_clip(tmp_path)
    path = tmp_path / 'figures.json'
    words = [str(config), *QUICK, '--pretrained', str(checkpoint), '--json', str(path)]
    assert benchmark.main([*words, '--classes', '40']) == 0
    assert f'{len(CLASSES)} classes' in capsys.readouterr().out
    (figures,) = json.loads(path.read_text())['results']
    assert figures['classes'] == len(CLASSES) and figures['input'] == [43, 64]
    assert figures['encoder_megabytes'] > 0


@pytest.fixture
def phrases_asked(monkeypatch):
    """Numbers of phrases in each pass through SAM 3."""
    pytest.importorskip('transformers', minversion='5.12')
    return count_phrases(monkeypatch)


def test_phrases_of_sam3_are_words_too(phrases_asked, tmp_path, capsys):
    path = tmp_path / 'figures.json'
    assert benchmark.main(['sam3-tiny', *QUICK, '--classes', '5', '--json', str(path)]) == 0
    (figures,) = json.loads(path.read_text())['results']
    assert figures['classes'] == 5


def test_answers_that_an_image_has_are_no_measure_of_what_they_cost(phrases_asked, tmp_path):
    path = tmp_path / 'figures.json'
    assert benchmark.main(['sam3-tiny', *QUICK, '--classes', '2', '4', '--json', str(path)]) == 0
    runs = 1 + len(json.loads(path.read_text())['results'][0]['labels_seconds'])
    assert sum(phrases_asked) == runs * (2 + 4)


def test_names_of_classes_differ_however_many_there_are():
    assert len(set(benchmark_models.class_names(7000))) == 7000


def test_refiners_are_timed_as_a_stage_of_their_own(tmp_path, capsys):
    config = Config.fromfile(CONFIG)
    config.model.refiners = [{'type': 'ScoreSoftmax'}]
    config.dump(tmp_path / 'refined.py')
    path = tmp_path / 'figures.json'
    code = benchmark.main([str(tmp_path / 'refined.py'), *QUICK, '--json', str(path)])
    assert (code, capsys.readouterr().err) == (0, '')
    assert min(json.loads(path.read_text())['results'][0]['stages']['refiners']) > 0


def test_two_configs_run_in_turn_and_are_compared(capsys, monkeypatch):
    order = []
    measure = benchmark_models.Subject.measure
    monkeypatch.setattr(
        benchmark_models.Subject, 'measure', lambda self: (order.append(id(self)), measure(self))
    )
    assert benchmark.main([str(CONFIG), str(CONFIG), *QUICK]) == 0
    assert len(order) == 4
    assert order[0] == order[2] != order[1] == order[3]
    assert 'times the time of random_tiny' in capsys.readouterr().out


def test_ratio_is_that_of_neighbouring_runs():
    common = dict(image=(1, 1), input=(1, 1), classes=1, batch_size=1, device='')
    common.update(precision='float32', text_seconds=0, model_megabytes=0)
    slow = benchmark_models.Figures('slow', seconds=[2.0, 4.0, 6.0], **common)
    fast = benchmark_models.Figures('fast', seconds=[1.0, 1.0, 3.0], **common)
    assert 'slow takes 2.00 times the time of fast (2.00 to 4.00' in benchmark_models.compare(
        slow, fast
    )


def test_costs_of_numbers_of_classes_and_of_sizes(capsys):
    words = [str(CONFIG), '--classes', '1', '5', '--sizes', '64', '48x96', '--repeat', '2']
    assert benchmark.main([*words, '--device', 'cpu', '--json', '-']) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found['text_seconds']) == ['1', '5'] and found['precision'] == 'float32'
    rows = [(row['image'], row['input'], row['classes']) for row in found['results']]
    small, wide = [64, 64], [48, 96]  # as they are: the resize of the config is left out
    assert rows == [(size, size, count) for size in (small, wide) for count in (1, 5)]
    for row in found['results']:
        assert len(row['encoder_seconds']) == len(row['labels_seconds']) == 2
        assert row['encoder_megabytes'] >= 0 and row['labels_megabytes'] >= 0
    runs = [row['encoder_seconds'] for row in found['results']]
    assert runs[0] == runs[1] != runs[2]  # the encoder knows no words and ran once for both


def test_a_table_of_classes_alone_resizes_as_the_config_says(capsys):
    words = [str(CONFIG), *QUICK, '--classes', '2', '3']
    assert benchmark.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[4:6]] == [
        ['60', 'x', '90', '2'],
        ['60', 'x', '90', '3'],
    ]


def test_a_trained_model_has_no_table_of_classes(tmp_path, capsys):
    config, checkpoint = write_dense_clip(tmp_path)
    words = [str(config), '--pretrained', str(checkpoint), '--device', 'cpu', '--classes', '2', '3']
    assert benchmark.main(words) == 2
    assert f'keeps the {len(CLASSES)} classes of its training' in capsys.readouterr().err


def test_a_model_is_compared_with_itself_in_another_precision(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    words = [str(CONFIG), '--precision', 'float32', 'bfloat16', '--json', str(path)]
    assert benchmark.main([*words, '--repeat', '1', '--device', 'cpu']) == 0
    printed = capsys.readouterr().out
    assert 'random_tiny in float32 takes' in printed
    assert 'times the time of random_tiny in bfloat16' in printed
    found = json.loads(path.read_text())['results']
    assert [one['precision'] for one in found] == ['float32', 'bfloat16']


def test_a_picture_and_a_batch(tmp_path, capsys):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / 'photo.png')
    arguments = ['--image', str(tmp_path / 'photo.png'), '--batch-size', '3', '--repeat', '1']
    assert benchmark.main([str(CONFIG), *arguments, '--device', 'cpu']) == 0
    assert 'image 30 x 40, input 64 x 85, 20 classes, batch 3' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.py'], 'no config none.py'),
        ([str(CONFIG)] * 3, '3 configs were given'),
        (
            [str(CONFIG), str(CONFIG), '--precision', 'float32', 'float16'],
            '2 x 2 configs and precisions were given',
        ),
        ([str(CONFIG), '--repeat', '0'], '--repeat must be at least 1'),
        ([str(CONFIG), '--classes', '3', '0'], '--classes must be at least 1'),
        ([str(CONFIG), str(CONFIG), '--sizes', '64'], 'a table of one config in one precision'),
        ([str(CONFIG), '--compile', '--sizes', '64'], '--compile compares one config in one'),
        ([str(CONFIG), '--sizes', '64', '--image', 'a.png'], '--sizes are of synthetic images'),
        ([str(CONFIG), '--batch-size', '0'], '--batch-size must be at least 1'),
        ([str(CONFIG), '--image-size', '0', '5'], '--image-size'),
        ([str(CONFIG), '--image', 'none.png'], 'no image none.png'),
        ([str(CONFIG), '--pretrained', 'none.pt'], 'none.pt'),
        (['ovseg-r101c-vit-b16'], 'as --pretrained ovseg_R101c_vitB16_ft_mpt.pth; its licence is'),
    ],
)
def test_bad_arguments_are_one_sentence(capsys, arguments, message):
    assert benchmark.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count('\n') == 1


@pytest.mark.parametrize('size', ['abc', '10x10', '64x64x3', '64x'])
def test_a_size_that_is_none_is_refused(capsys, size):
    with pytest.raises(SystemExit, match='2'):
        benchmark.main([str(CONFIG), '--sizes', size])
    assert f"'{size}' is no size of at least 32 pixels" in capsys.readouterr().err


def test_nested_stages_are_taken_out_of_those_around_them(monkeypatch):
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(time, 'perf_counter', lambda: next(now))
    clock = StageClock(torch.device('cpu'))
    with clock.listening(), stage('decide'), stage('pixel refiner'):
        pass
    assert clock.stages()['upsample + argmax'] == 10 - 3
    assert clock.stages()['pixel refiner'] == 3


def test_memory_peak_sees_what_a_block_used_and_freed():
    with MemoryPeak(torch.device('cpu')) as peak:
        for _ in range(20):  # a busy machine may leave the sampler out for a while
            block = torch.ones(64 * 2**20 // 4)
            del block
    assert peak.bytes > 60 * 2**20


@pytest.mark.gpu
def test_gpu_figures(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    code = benchmark.main([str(CONFIG), '--repeat', '2', '--device', 'cuda', '--json', str(path)])
    assert (code, capsys.readouterr().err) == (0, '')
    figures = json.loads(path.read_text())['results'][0]
    assert figures['encoder_megabytes'] > 0
    assert figures['labels_megabytes'] > 0


def test_a_pixel_refiner_has_a_stage_of_its_own():
    from ovseg.registry import MODELS

    model = MODELS.build(
        {
            'type': 'TrainingFreeSegmentor',
            '_scope_': 'ovseg',
            'clip': {'model': 'tiny_clip_scenes', 'pretrained': 'embedded'},
            'vocabulary': 'star; sky',
            'text': {'templates': 'single', 'cache_dir': None},
            'pixel_refiner': {'type': 'PAMR', 'steps': 1, 'dilations': (1,)},
        }
    ).eval()
    image = torch.randn(1, 3, 40, 40)
    expected = model.segment(model.encode(Images(image))[0], (50, 50)).labels
    clock = StageClock(torch.device('cpu'))
    with clock.listening():
        labels = model.segment(model.encode(Images(image))[0], (50, 50)).labels
    assert torch.equal(labels, expected)
    stages = clock.stages()
    assert stages['pixel refiner'] > 0 and stages['upsample + argmax'] > 0


def test_sams_parts_have_stages_of_their_own(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    config = tmp_path / 'trident.py'
    config.write_text(
        f'_base_ = {str(ROOT / "configs/trident/trident_tiny.py")!r}\n'
        'model = dict(test_cfg=dict(stride=(16, 16)))\n'  # few windows
    )
    code = benchmark.main([str(config), *QUICK, '--repeat', '1', '--json', str(path)])
    assert (code, capsys.readouterr().err) == (0, '')
    stages = json.loads(path.read_text())['results'][0]['stages']
    assert min(stages['SAM correlation']) > 0 and min(stages['SAM refinement']) > 0
    assert min(stages['encoder']) > 0 and min(stages['upsample + argmax']) > 0


def test_figures_for_a_program_are_printed_alone(capsys):
    assert command.main(['benchmark', str(CONFIG), *QUICK, '--json', '-', '--quiet']) == 0
    out, err = capsys.readouterr()
    (figures,) = json.loads(out)['results']
    assert figures['classes'] == 20 and len(figures['seconds']) == 2 and not err
