from __future__ import annotations

import socket

import pytest
import torch
from tiny_world import write_config, write_data
from tool_runs import run_script, run_tool, same

from ovseg.engine import read_checkpoint


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('tiny') / 'data', 5)


@pytest.fixture
def config(tmp_path, data):
    return write_config(tmp_path / 'linear.py', data, tmp_path / 'work', trains=True)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(config, tmp_path, capsys):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert run_tool('train', config, '--work-dir', whole) == 0
    assert run_tool('train', config, '--work-dir', parts, '--resume') == 0
    assert f'no checkpoint in {parts}' in capsys.readouterr().out
    expected = read_checkpoint(whole / 'iter_6.pth')
    assert expected['meta']['iter'] == 6
    # As if the run had been killed after its fourth step, while the fifth was being written.
    for name in ('iter_5.pth', 'iter_6.pth'):
        (parts / name).unlink()
    (parts / 'last_checkpoint').write_text('')
    (parts / '.writing-iter_5.pth').write_bytes(b'half')
    assert run_tool('train', config, '--work-dir', parts, '--resume') == 0
    resumed = read_checkpoint(parts / 'iter_6.pth')
    assert same(resumed['state_dict'], expected['state_dict'])
    momentum = [c['optimizer']['state'][0]['momentum_buffer'] for c in (resumed, expected)]
    assert torch.equal(*momentum)
    assert resumed['param_schedulers'] == expected['param_schedulers']


def test_resuming_a_file_and_starting_from_weights_differ(config, tmp_path):
    first = tmp_path / 'first'
    short = ('--cfg-options', 'train_cfg.max_iters=2')
    assert run_tool('train', config, '--work-dir', first, *short) == 0
    start = first / 'iter_2.pth'
    resumed, fresh = tmp_path / 'resumed', tmp_path / 'fresh'
    assert run_tool('train', config, '--work-dir', resumed, '--resume', start) == 0
    assert sorted(path.name for path in resumed.glob('*.pth')) == [
        f'iter_{step}.pth' for step in (4, 5, 6)
    ]
    assert run_tool('train', config, '--work-dir', fresh, *short, f'load_from={start}') == 0
    again = read_checkpoint(fresh / 'iter_2.pth')
    assert again['meta']['iter'] == 2
    assert not same(again['state_dict'], read_checkpoint(start)['state_dict'])


def test_text_in_a_checkpoint_is_not_run_as_a_config(config, tmp_path):
    start, marker = tmp_path / 'first' / 'iter_2.pth', tmp_path / 'executed'
    short = ('--cfg-options', 'train_cfg.max_iters=2')
    assert run_tool('train', config, '--work-dir', start.parent, *short) == 0
    content = read_checkpoint(start)
    content['meta']['config'] = f"open({str(marker)!r}, 'w').close()"
    torch.save(content, start)
    assert run_tool('train', config, '--resume', start) == 0
    assert not marker.exists()


@pytest.mark.parametrize(
    'words, message',
    [
        (['--resume', '{tmp}/gone.pth'], 'weight file {tmp}/gone.pth does not exist'),
        (['--resume', '{tmp}/weights.pth'], "has weights but no 'meta' of a training"),
        (['--cfg-options', 'load_from={tmp}/other.pth'], '2 missing (head.weight, head.bias)'),
        (['--amp'], '--amp needs a GPU'),
        (['--precision', 'bfloat16'], '--precision bfloat16 needs a GPU'),
        (['--cfg-options', 'optim_wrapper.optimizer.type=SDG'], "Did you mean 'SGD'"),
    ],
)
def test_bad_input_is_one_sentence(config, tmp_path, capsys, words, message):
    if torch.cuda.is_available() and 'needs a GPU' in message:
        pytest.skip('there is a GPU')
    state = {'head.weight': torch.zeros(3, 3, 1, 1), 'head.bias': torch.zeros(3)}
    torch.save({'state_dict': state}, tmp_path / 'weights.pth')
    torch.save({'backbone.w': torch.zeros(1)}, tmp_path / 'other.pth')
    assert run_tool('train', config, *(word.format(tmp=tmp_path) for word in words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message.format(tmp=tmp_path) in error
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_a_method_without_training_says_so(data, tmp_path, capsys):
    config = write_config(tmp_path / 'colors.py', data, tmp_path / 'work')
    assert run_tool('train', config) == 2
    assert 'has no train_dataloader, train_cfg, optim_wrapper' in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_one_model(config, tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    options = ('--cfg-options', 'train_cfg.max_iters=2')
    done = run_script('dist_train.sh', config, 2, *options, PORT=str(port), CUDA_VISIBLE_DEVICES='')
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_checkpoint(tmp_path / 'work' / 'iter_2.pth')['meta']['iter'] == 2
    assert done.stderr.count('Traceback') == 0


def test_dist_script_checks_its_words():
    done = run_script('dist_train.sh', 'c.py', 4, '--resume', PYTHON='echo', NNODES='2')
    assert done.stdout.strip().endswith('tools/train.py c.py --launcher pytorch --resume')
    assert '--nproc_per_node=4' in done.stdout and '--nnodes=2' in done.stdout
    for words in ([], ['c.py'], ['c.py', 'two']):
        done = run_script('dist_train.sh', *words, PYTHON='echo')
        assert done.returncode == 2 and 'usage: ' in done.stderr
