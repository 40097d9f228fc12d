"""What is read from files of every format, and what is said of those that are damaged."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.logging.history_buffer import HistoryBuffer
from safetensors.torch import save_file

from ovseg.errors import UserError
from ovseg.weight_files import read_array, read_checkpoint, read_state_dict, read_tensors, state_of

TENSORS = {
    'a.weight': torch.arange(6.0).reshape(2, 3),
    'half': torch.ones(3).half(),
    'brain': torch.ones(2).bfloat16(),
    'long': torch.tensor(7),
    'bool': torch.tensor([True, False]),
    'empty': torch.zeros(0, 4),
}


def save(tmp_path, content, name='model.pth', **settings):
    torch.save(content, tmp_path / name, **settings)
    return tmp_path / name


def one_sentence(error):
    text = str(error.value)
    assert '\n' not in text and 'weights_only' not in text
    return text


def equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


class Reaching:
    """Asks for an attribute by the one function that Runner checkpoints may name."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def test_getattr_reaches_nothing_but_statistics(tmp_path):
    with pytest.raises(UserError, match='__init__'):
        read_checkpoint(save(tmp_path, {'x': Reaching()}))


def test_what_a_runner_writes_can_be_read(tmp_path):
    hub = MessageHub.get_instance('test_checkpoint')
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('best_score', np.float64(0.5))
    content = {
        'meta': {'iter': 3, 'seed': np.int64(7), 'dataset_meta': {'palette': np.eye(3)}},
        'state_dict': OrderedDict(weight=torch.ones(2)),
        'message_hub': hub.state_dict(),
    }
    found = read_checkpoint(save(tmp_path, content))
    assert found['meta']['seed'] == 7
    np.testing.assert_array_equal(found['meta']['dataset_meta']['palette'], np.eye(3))
    losses = found['message_hub']['log_scalars']['train/loss']
    assert losses.current() == 0.25 and losses.statistics('mean') == 0.25
    assert found['message_hub']['runtime_info']['best_score'] == 0.5


@pytest.mark.parametrize('place', ['core', '_core'])
def test_files_of_either_numpy_can_be_read(tmp_path, place):
    path = save(tmp_path, {'value': np.float64(1.5)}, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for name in (b'numpy._core.multiarray', b'numpy.core.multiarray'):
        data = data.replace(b'c' + name, b'cnumpy.' + place.encode() + b'.multiarray')
    path.write_bytes(data)
    assert read_checkpoint(path)['value'] == 1.5


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04 cut off'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_damaged_files(tmp_path, content, suffix):
    path = tmp_path / f'model{suffix}'
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(path) in one_sentence(error)


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    save(tmp_path, {}, 'iter_4000.pth')
    with pytest.raises(FileNotFoundError, match="does not exist.*Did you mean '.*iter_4000.pth'"):
        read_checkpoint(tmp_path / 'iter_400.pth')


@pytest.mark.parametrize('name', ['w.pth', 'w.pt', 'w.bin', 'w', 'w.pickle'])
@pytest.mark.parametrize('form', ['zip', 'old', 'safetensors'])
def test_the_format_is_told_by_the_content(form, name, tmp_path):
    path = tmp_path / name
    if form == 'safetensors':
        save_file(TENSORS, path, {'format': 'pt'})
    else:
        save(tmp_path, TENSORS, name, _use_new_zipfile_serialization=form == 'zip')
    equal({key: read_tensors(path)[key] for key in TENSORS}, TENSORS)


def test_numpys_files_are_weights_too(tmp_path):
    np.save(tmp_path / 'keys.npy', np.arange(6.0).reshape(2, 3))
    assert torch.equal(read_tensors(tmp_path / 'keys.npy'), torch.arange(6.0).double().view(2, 3))
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / 'w.npz', **{'a.weight': columns, 'b': np.float32(3)})
        equal(
            read_tensors(tmp_path / 'w.npz'),
            {'a.weight': torch.from_numpy(columns), 'b': torch.tensor(3.0)},
        )


def test_an_array_is_read_by_name_within_a_bound(tmp_path):
    np.savez_compressed(tmp_path / 'maps.npz', regions=np.zeros((100, 100), np.int64))
    assert read_array(tmp_path / 'maps.npz', 'regions', 80_000).shape == (100, 100)
    with pytest.raises(ValueError, match='claims 80000 bytes'):
        read_array(tmp_path / 'maps.npz', 'regions', 79_999)
    with pytest.raises(ValueError, match="no array 'other'"):
        read_array(tmp_path / 'maps.npz', 'other')


@pytest.mark.parametrize(
    'source', ['ovseg://tiny_found_scenes', 'ovseg://clip_dinoiser_tiny_scenes']
)
def test_weights_that_ship_with_ovseg_have_a_name(source):
    assert read_state_dict(source)
    with pytest.raises(FileNotFoundError, match='Did you mean'):
        read_tensors(f'{source}s')


def test_every_single_flipped_bit_of_a_weight_is_found(tmp_path):
    path = save(tmp_path, {'weight': torch.ones(3)})
    whole = path.read_bytes()
    start = whole.index(torch.ones(3).numpy().tobytes())
    for bit in range(96):
        data = bytearray(whole)
        data[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(UserError, match='CRC'):
            read_tensors(path)


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'set_crc32_options'), reason='torch before 2.6 always sums'
)
def test_an_archive_that_was_written_without_sums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path, TENSORS)
    finally:
        torch.serialization.set_crc32_options(True)
    equal(read_tensors(path), TENSORS)


@pytest.mark.parametrize('form', ['zip', 'old', 'safetensors', 'npz'])
def test_a_file_that_is_cut_anywhere_is_refused(form, tmp_path):
    path = tmp_path / 'weights.pt'
    if form == 'safetensors':
        save_file(TENSORS, path)
    elif form == 'npz':
        np.savez(tmp_path / 'w.npz', a=np.arange(5.0), b=np.arange(3))
        path = tmp_path / 'w.npz'
    else:
        save(tmp_path, TENSORS, path.name, _use_new_zipfile_serialization=form == 'zip')
    whole = path.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError) as error:
            read_tensors(path)
        one_sentence(error)


@pytest.mark.parametrize('suffix', ['.pt', '.safetensors'])
def test_a_file_that_is_cut_after_reading_ends_nothing(suffix, tmp_path):
    """Tensors that were mapped would end the process with SIGBUS when they are looked at."""
    path = tmp_path / f'weights{suffix}'
    content = {'a': torch.arange(1 << 18)}
    save_file(content, path) if suffix == '.safetensors' else torch.save(content, path)
    found = read_tensors(path)
    with path.open('r+b') as file:
        file.truncate(0)
    assert torch.equal(found['a'], content['a'])


def test_safetensors_that_overlap_or_leave_gaps_are_refused(tmp_path):
    path = tmp_path / 'w.safetensors'
    save_file({'a': torch.ones(2), 'b': torch.ones(2)}, path)
    whole = path.read_bytes()
    for old, new in ((b'[8,16]', b'[4,12]'), (b'[8,16]', b'[0,8] '), (b'[2]', b'[3]')):
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(UserError, match='overlap|another size'):
            read_tensors(path)


def test_threads_read_runner_records_at_once(tmp_path):
    """What torch may call is one list for the process; threads must not take it from each other."""
    path = save(tmp_path, {'meta': {'seed': np.int64(7)}, 'state_dict': {'w': torch.ones(2)}})
    problems = []

    def read():
        try:
            for _ in range(20):
                read_checkpoint(path)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


PLAIN = {'head.weight': torch.ones(2), 'head.bias': torch.zeros(2)}


@pytest.mark.parametrize(
    'prefixes',
    [
        ('module.', ''),
        ('module.module.', ''),
        ('_orig_mod.', ''),
        ('module._orig_mod.', ''),
        ('_orig_mod.module.', ''),
        ('', '_orig_mod.'),
        ('module.', '_orig_mod.'),
        ('_fsdp_wrapped_module.', '_fsdp_wrapped_module._checkpoint_wrapped_module.'),
    ],
)
@pytest.mark.parametrize('key', ['state_dict', 'model_state_dict', 'model', None])
def test_prefixes_of_wrappers_are_taken_off(prefixes, key):
    front, inside = prefixes
    state = {f'{front}{name.replace(".", f".{inside}")}': v for name, v in PLAIN.items()}
    equal(state_of({key: state, 'epoch': 3} if key else state, 'a file'), PLAIN)


def test_torchs_own_wrappers_give_names_that_are_known():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(model))
    equal(state_of(averaged.state_dict(), 'a file'), model.state_dict())


def test_two_models_in_one_state_dict_are_refused():
    with pytest.raises(UserError, match="'a' twice"):
        state_of({'a': torch.ones(1), 'module.a': torch.ones(1)}, 'a file')


def test_of_averaged_weights_those_that_mmengine_tests_with_are_taken():
    content = {'state_dict': PLAIN, 'ema_state_dict': {'module.head.weight': torch.zeros(2)}}
    equal(state_of(content, 'a file'), PLAIN)


@pytest.mark.parametrize(
    'content',
    [
        {'model': {'state_dict': {'a.b': torch.ones(2)}}},
        {'state_dict': {'model.a.b': torch.ones(2)}, 'pytorch-lightning_version': '2'},
        {'module': {'module.model.a.b': torch.ones(2)}, 'global_step': 3},
        {'ema': {'a.b': torch.ones(2)}, 'epoch': 1},
        {'model_ema': {'state_dict': {'module.a.b': torch.ones(2)}}},
        {'model.module._orig_mod.a.b': torch.ones(2)},
        {'_fsdp_wrapped_module.a._fsdp_wrapped_module.b': torch.ones(2)},
    ],
)
def test_weights_are_found_in_the_files_of_other_trainers(content):
    assert list(state_of(content, 'a file')) == ['a.b']


def test_a_part_called_model_keeps_its_name():
    state = {'model.a': torch.ones(2), 'head.b': torch.ones(2)}
    assert state_of(state, 'a file').keys() == state.keys()
