from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_world import write_config, write_data
from tool_runs import read_result, run_tool

from ovseg.segmentors.samples import by_size


def test_images_of_one_size_go_together_and_come_back_in_order():
    sizes = [(4, 6), (6, 4), (4, 6), (5, 5)]
    seen = []

    def step(data):
        seen.append([tuple(image.shape[1:]) for image in data['inputs']])
        assert data['kept'] == 'whole'
        return data['data_samples']

    samples = [SegDataSample(metainfo={'number': i}) for i in range(4)]
    data = {'inputs': [torch.zeros(3, *size) for size in sizes], 'data_samples': samples}
    found = by_size(step, {**data, 'kept': 'whole'})
    assert [sample.number for sample in found] == [0, 1, 2, 3]
    assert seen == [[(4, 6), (4, 6)], [(6, 4)], [(5, 5)]]


@pytest.fixture
def config(tmp_path):
    """A config for images of three sizes."""
    data = write_data(tmp_path / 'data', 5)
    for index, size in ((1, (32, 24)), (3, (24, 24))):
        for folder, shape in (('images', (*size, 3)), ('labels', size)):
            path = str(data / folder / f'{index}.png')
            pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
            pixels = cv2.resize(pixels, shape[1::-1], interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(path, pixels)
    return write_config(tmp_path / 'colors.py', data, tmp_path / 'work')


@pytest.mark.parametrize('words', [(), ('--tta',)])
def test_the_scores_do_not_depend_on_the_batch(config, tmp_path, words):
    found = []
    for size in (1, 3):
        work, out = tmp_path / f'work{size}', tmp_path / f'out{size}'
        options = ('--cfg-options', f'test_dataloader.batch_size={size}')
        assert run_tool('test', config, *words, '--work-dir', work, '--out', out, *options) == 0
        labels = [cv2.imread(str(path), -1) for path in sorted(out.iterdir())]
        found.append((read_result(work)['metrics'], labels))
    assert found[0][0] == found[1][0]
    assert all(
        np.array_equal(one, other) for one, other in zip(found[0][1], found[1][1], strict=True)
    )


def test_labels_that_are_all_ignored_end_a_test(config, tmp_path, capsys):
    for path in (tmp_path / 'data' / 'labels').iterdir():
        cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), -1), 255))
    assert run_tool('test', config) == 2
    error = capsys.readouterr().err
    assert 'none of the classes has a pixel in the 5 label maps of test_dataloader' in error
    hook = ('--cfg-options', 'default_hooks.label_use=None')
    assert run_tool('test', config, *hook) == 2
    assert 'no pixel of the 5 label maps has a class' in capsys.readouterr().err


def test_evaluators_beside_the_first_stand_in_the_result(config, tmp_path):
    both = "test_evaluator=[{'type': 'OVIoUMetric'}, {'type': 'BoundaryIoUMetric'}]"
    matrix = f'test_evaluator.confusion_file={tmp_path / "a matrix.npy"}'
    groups = 'test_evaluator.groups.warm=[red]'
    assert run_tool('test', config, '--cfg-options', both) == 0
    metrics = read_result(tmp_path / 'work')['metrics']
    assert 0 < metrics['boundary_mIoU'] <= 100 and 'mIoU' in metrics
    work = ('--work-dir', tmp_path / 'again')
    assert run_tool('test', config, *work, '--cfg-options', matrix, groups) == 0
    metrics = read_result(tmp_path / 'again')['metrics']
    assert 'mIoU_warm' in metrics and np.load(tmp_path / 'a matrix.npy').shape == (3, 4)


@pytest.mark.parametrize(
    'words', [('persistent_workers=true', 'prefetch_factor=2'), ('timeout=5', 'pin_memory=false')]
)
def test_no_workers_switch_off_what_only_workers_have(config, words):
    loader = [f'test_dataloader.{word}' for word in ('num_workers=0', *words)]
    assert run_tool('test', config, '--cfg-options', *loader) == 0


def test_numbers_of_a_loader_are_checked(config, capsys):
    for word, message in (('num_workers=-1', 'from 0'), ('batch_size=0', 'from 1')):
        assert run_tool('test', config, '--cfg-options', f'test_dataloader.{word}') == 2
        assert message in capsys.readouterr().err
