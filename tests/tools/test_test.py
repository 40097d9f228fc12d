from __future__ import annotations

import os
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scripts import ROOT
from tiny_world import CLASSES, COLORS, RESIZE, write_config, write_data
from tool_runs import free_port, read_result, run_script, run_tool
from warm_processes import run_ranks, run_warm

import ovseg
from ovseg import compiled
from ovseg.text import TextEncoder


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('tiny') / 'data', 5)


@pytest.fixture
def config(tmp_path, data):
    return write_config(tmp_path / 'colors.py', data, tmp_path / 'work')


def labels_of(data):
    files = sorted((data / 'labels').iterdir())
    return [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]


def test_a_method_without_weights_needs_no_checkpoint(config, data, tmp_path, capsys):
    out, shown, confusion = tmp_path / 'out', tmp_path / 'shown', tmp_path / 'confusion.npy'
    options = f'test_evaluator.confusion_file={confusion}'
    words = (config, '--out', out, '--show-dir', shown, '--cfg-options', options)
    assert run_tool('test', *words) == 0
    printed = capsys.readouterr().out

    # Every number can be counted again from the label maps that were saved.
    predictions = [np.asarray(Image.open(out / f'{i}.png')) for i in range(5)]
    matrix = np.zeros((3, 4), np.int64)
    for prediction, label in zip(predictions, labels_of(data), strict=True):
        np.add.at(matrix, (label[label != 255], prediction[label != 255]), 1)
    np.testing.assert_array_equal(np.load(confusion), matrix)
    square = matrix[:, :3]
    iou = 100 * square.diagonal() / (square.sum(0) + square.sum(1) - square.diagonal())
    result = read_result(tmp_path / 'work')
    assert result['metrics']['mIoU'] == pytest.approx(iou.mean())
    assert [row['name'] for row in result['classes']] == list(CLASSES)
    assert [row['IoU'] for row in result['classes']] == pytest.approx(list(iou))
    assert set(result['metrics']) == {'aAcc', 'mIoU', 'mIoU_present', 'mAcc', 'zero_iou_share'}
    assert 50 < iou.mean() < 99

    protocol = result['protocol']
    assert (protocol['dataset'], protocol['images']) == ('BaseSegDataset', 5)
    assert protocol['versions']['ovseg'] == ovseg.__version__
    assert f'mIoU {iou.mean():.2f}' in printed and 'Protocol' in printed
    assert all(name in printed for name in protocol)

    assert sorted(path.name for path in shown.iterdir()) == [f'{i}.png' for i in range(5)]
    picture = cv2.imread(str(shown / '0.png'))[..., ::-1]
    # The legend's swatches show the vocabulary's own colours.
    palette = ovseg.Vocabulary.parse('red; green; blue').palette
    present = np.unique(predictions[0])
    for index in present:
        assert (picture == np.asarray(palette[index])).all(-1).any()


def test_two_processes_give_the_confusion_matrix_of_one(config, tmp_path):
    one, two = tmp_path / 'one.npy', tmp_path / 'two.npy'
    option = 'test_evaluator.confusion_file='
    assert run_tool('test', config, '--cfg-options', f'{option}{one}') == 0
    work = tmp_path / 'two'
    words = (config, '--work-dir', work, '--cfg-options', f'{option}{two}')
    ranks = run_ranks(ROOT / 'tools' / 'test.py', 2, *words, port=free_port())
    assert [done.returncode for done in ranks] == [0, 0], ranks[0].stderr[-3000:]
    np.testing.assert_array_equal(np.load(two), np.load(one))
    assert read_result(work)['images'] == 5
    assert [done.stdout.count('Protocol') for done in ranks] == [1, 0]


def test_augmentation_averages_and_says_so(config, tmp_path):
    assert run_tool('test', config, '--work-dir', tmp_path / 'plain') == 0
    assert run_tool('test', config, '--work-dir', tmp_path / 'tta', '--tta') == 0
    plain, augmented = read_result(tmp_path / 'plain'), read_result(tmp_path / 'tta')
    # The images are noisy: averaging over sizes takes the noise out.
    assert augmented['metrics']['mIoU'] > plain['metrics']['mIoU'] + 3
    assert plain['protocol']['augmentation'] == 'none'
    assert augmented['protocol']['augmentation'].startswith('mean of probabilities over sizes')
    assert augmented['protocol']['model']['type'] == 'ColorSegmentor'
    assert augmented['protocol']['resize'] == plain['protocol']['resize'] == RESIZE


def test_the_config_says_at_which_sizes(config, tmp_path, capsys):
    with config.open('a', encoding='utf-8') as file:
        file.write('tta_ratios = [0.5, 2.0]\n')
    words = ('test', config, '--work-dir', tmp_path / 'work', '--tta')
    assert run_tool(*words) == 0
    facts = read_result(tmp_path / 'work')['protocol']
    wanted = 'mean of probabilities over sizes 0.5, 2.0 and mirror images'
    assert facts['augmentation'] == wanted and facts['resize'] == RESIZE
    assert wanted.split(' and ')[0] in ' '.join(capsys.readouterr().out.split())
    assert run_tool(*words, '--cfg-options', 'tta_ratios=[0.5,-1]') == 2
    assert 'tta_ratios must be a list of sizes' in capsys.readouterr().err


def test_another_precision_is_part_of_the_protocol(tmp_path, capsys):
    words = ('maskclip-tiny', '--on', 'scenes')
    few = ('--cfg-options', 'test_dataloader.dataset.num_scenes=2')
    scores = {}
    for precision in ('auto', 'bfloat16'):  # auto is float32 in tests
        folder = tmp_path / precision
        asked = ('--work-dir', folder, '--precision', precision)
        assert run_tool('test', *words, *asked, *few) == 0
        result = read_result(folder)
        scores[result['protocol']['precision']] = result['metrics']['aAcc']
    assert list(scores) == ['float32', 'bfloat16']
    assert 0 < abs(scores['float32'] - scores['bfloat16']) < 0.5
    assert '| bfloat16' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore:an image encoder was compiled')
def test_compiled_encoders_are_part_of_the_protocol(tmp_path, monkeypatch):
    torch.compiler.reset()
    # Recorded and run as recorded: the C++ compiler takes minutes.
    monkeypatch.setattr(compiled, '_translator', lambda: lambda graph, inputs: graph.forward)
    few = ('--cfg-options', 'test_dataloader.dataset.num_scenes=1')
    found = {}
    for words in ((), ('--compile',)):
        folder = tmp_path / f'run{len(words)}'
        asked = ('--on', 'scenes', '--work-dir', folder, *words, *few)
        assert run_tool('test', 'maskclip-tiny', *asked) == 0
        result = read_result(folder)
        found[result['protocol']['precision']] = result['metrics']['aAcc']
    torch.compiler.reset()
    assert list(found) == ['float32', 'float32, compiled']
    assert found['float32'] == found['float32, compiled']


def test_a_trained_model_is_tested_with_its_checkpoint(data, tmp_path, capsys):
    config = write_config(tmp_path / 'linear.py', data, tmp_path / 'work', trains=True)
    weight = (torch.tensor(COLORS, dtype=torch.float32) / 25)[:, :, None, None]
    state = {'head.weight': weight, 'head.bias': torch.zeros(3)}
    torch.save({'state_dict': state}, tmp_path / 'model.pth')
    assert run_tool('test', config) == 2
    assert 'LinearSegmentor needs trained weights' in capsys.readouterr().err
    assert run_tool('test', config, tmp_path / 'model.pth') == 0
    result = read_result(tmp_path / 'work')
    assert result['metrics']['mIoU'] > 70
    assert result['protocol']['weights'] == str(tmp_path / 'model.pth')


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_checkpoint(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    'words, message',
    [
        (['{config}', '{tmp}/nowhere.pth'], 'weight file {tmp}/nowhere.pth does not exist'),
        (['{config}', '{tmp}/other.pth'], 'do not fit ColorSegmentor: 1 unexpected (backbone.w)'),
        (['{config}', '{tmp}/evil.pth'], 'evil.pth was not loaded'),
        (['{tmp}/color.py'], 'config {tmp}/color.py does not exist'),
        (['{config}', '--amp'], '--amp needs a GPU'),
        (['{config}', '--amp', '--precision', 'bfloat16'], '--amp means --precision float16'),
        (['{config}', '--precision', 'bfloat16'], 'ColorSegmentor has no encoder that computes'),
        (['{config}', '--launcher', 'pytorch'], '--launcher pytorch needs RANK'),
        (['{config}', '--cfg-options', 'model.type=ColorSegmenter'], "mean 'ColorSegmentor'"),
        (['{config}', '--cfg-options', 'model.vocab=a'], "setting 'vocab' that it does not have"),
        (['{config}', '--cfg-options', 'modl.type=X'], "Did you mean 'model'"),
        (
            ['{config}', '--cfg-options', 'test_dataloader.dataset.data_rot=X'],
            "setting 'data_rot' that it does not have. Did you mean 'data_root'",
        ),
        (
            ['{config}', '--cfg-options', 'model.vocabulary=red; blue; green'],
            "another order: class 1 is 'blue' for the model",
        ),
        (['{config}', '--cfg-options', 'model.vocabulary=red; blue'], 'knows 2 classes'),
        (['{config}', '--cfg-options', 'test_evaluator.headline=mDice'], 'headline must be'),
        (['_base_/default_runtime.py'], 'has no model, test_dataloader, test_evaluator'),
        (['{config}', '--show'], '--show needs a display'),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_result(
    config, tmp_path, monkeypatch, capsys, words, message
):
    if torch.cuda.is_available() and '--amp' in words:
        pytest.skip('there is a GPU')
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'agg')
    marker = tmp_path / 'executed'
    write_checkpoint(tmp_path / 'other.pth', {'backbone.w': torch.zeros(1)})
    write_checkpoint(tmp_path / 'evil.pth', {'state_dict': Touch(marker)})
    for name in ('RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    places = {'config': config, 'tmp': tmp_path}
    assert run_tool('test', *(word.format(**places) for word in words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message.format(**places) in error
    assert not marker.exists()
    assert not list(tmp_path.rglob('result.json'))


def test_a_user_sees_one_line_and_exit_code_2(config, tmp_path):
    marker = tmp_path / 'executed'
    evil = write_checkpoint(tmp_path / 'evil.pth', {'state_dict': Touch(marker)})
    done = run_warm(ROOT / 'tools' / 'test.py', config, evil)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr + done.stdout
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: {evil} was not loaded')
    assert not marker.exists()


def test_a_missing_image_folder(config, tmp_path, capsys):
    options = ('--cfg-options', f'test_dataloader.dataset.data_root={tmp_path / "gone"}')
    assert run_tool('test', config, *options) == 2
    assert 'gone/images' in capsys.readouterr().err


def test_data_are_looked_for_before_words_are_encoded(data, tmp_path, capsys, monkeypatch):
    encoded = []
    encode = TextEncoder.encode

    def watched(self, prompts):
        encoded.extend(prompts)
        return encode(self, prompts)

    monkeypatch.setattr(TextEncoder, 'encode', watched)
    config = write_config(tmp_path / 'words.py', data, tmp_path / 'work')
    model = (
        "dict(type='TrainingFreeSegmentor', vocabulary='red; green; blue', "
        "clip=dict(model='tiny_clip_scenes', pretrained='embedded'))"
    )
    config.write_text(config.read_text() + f'\nmodel = {model}\n')
    gone = f'test_dataloader.dataset.data_root={tmp_path / "gone"}'
    assert run_tool('test', config, '--cfg-options', gone) == 2
    assert 'gone/images' in capsys.readouterr().err
    assert not encoded
    assert run_tool('test', config) == 0
    assert encoded


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_is_no_image(config, tmp_path, capsys, workers):
    broken = write_data(tmp_path / 'broken', 2)
    (broken / 'images' / '1.png').write_bytes(b'no image')
    options = (f'test_dataloader.dataset.data_root={broken}',)
    options += (f'test_dataloader.num_workers={workers}',)
    assert run_tool('test', config, '--cfg-options', *options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: the image') and '1.png cannot be decoded' in error


def test_dist_script_takes_a_checkpoint_or_none(tmp_path):
    common = {'PYTHON': 'echo'}
    done = run_script('dist_test.sh', 'c.py', 2, '--out', 'a b', **common)
    assert done.stdout.strip().endswith('tools/test.py c.py --launcher pytorch --out a b')
    assert '--nproc_per_node=2' in done.stdout
    done = run_script('dist_test.sh', 'c.py', 'w.pth', 8, PORT='1234', **common)
    assert done.stdout.strip().endswith('tools/test.py c.py w.pth --launcher pytorch')
    assert '--nproc_per_node=8' in done.stdout and '--master_port=1234' in done.stdout
    for words in ([], ['c.py'], ['c.py', 'w.pth'], ['c.py', 'w.pth', 'x']):
        done = run_script('dist_test.sh', *words, **common)
        assert done.returncode == 2 and 'usage: ' in done.stderr


@pytest.mark.parametrize('kind', ['test', 'train'])
def test_slurm_scripts_start_one_process_a_gpu(tmp_path, kind):
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    done = run_script(
        f'slurm_{kind}.sh',
        *('short', 'my job', 'c.py', '--work-dir', 'w x'),
        PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
        GPUS='16',
        SRUN_ARGS='--qos=high --time=1',
    )
    words = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    for word in ('--partition=short', '--job-name=my job', '--ntasks=16', '--ntasks-per-node=8'):
        assert word in words
    assert '--qos=high' in words and '--time=1' in words
    assert words[-6:-5][0].endswith(f'tools/{kind}.py')
    assert words[-5:] == ['c.py', '--work-dir', 'w x', '--launcher', 'slurm']
    assert run_script(f'slurm_{kind}.sh', 'short', 'job').returncode == 2
