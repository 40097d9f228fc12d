"""The cache on disk: content, damage, races, unusable directories."""

from __future__ import annotations

import multiprocessing
import warnings

import numpy as np
import pytest

from ovseg.text import EncodingCache, default_cache_dir
from ovseg.text import cache as cache_module


def vector_of(string, dim=5):
    seed = int.from_bytes(string.encode(), 'little') % 2**32
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def vectors_of(strings):
    return {string: vector_of(string) for string in strings}


def assert_same(found, strings):
    assert found.keys() == set(strings)
    for string, vector in found.items():
        np.testing.assert_array_equal(vector, vector_of(string))


def segments(folder):
    return sorted(folder.glob('*.npy'))


def test_another_cache_object_reads_what_one_wrote(tmp_path):
    EncodingCache(tmp_path / 'new').put(vectors_of(['cat', 'dog', '北京 ']))
    found = EncodingCache(tmp_path / 'new').get(['dog', '北京 ', 'wolf', 'cat'])
    assert_same(found, ['cat', 'dog', '北京 '])


def test_entries_written_meanwhile_are_seen(tmp_path):
    reader, writer = EncodingCache(tmp_path), EncodingCache(tmp_path)
    assert reader.get(['cat']) == {}
    writer.put(vectors_of(['cat']))
    assert_same(reader.get(['cat']), ['cat'])


def test_nothing_but_segments_is_left_behind(tmp_path):
    EncodingCache(tmp_path).put(vectors_of(['cat']))
    assert list(tmp_path.iterdir()) == segments(tmp_path)


def test_same_words_take_no_second_file(tmp_path):
    for _ in range(3):
        EncodingCache(tmp_path).put(vectors_of(['cat', 'dog']))
    assert len(segments(tmp_path)) == 1


@pytest.mark.parametrize('position', [-1, -90])
def test_flipped_byte_costs_one_entry_and_is_replaced(tmp_path, position):
    words = ['cat', 'dog', 'wolf']
    EncodingCache(tmp_path).put(vectors_of(words))
    [file] = segments(tmp_path)
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)

    cache = EncodingCache(tmp_path)
    found = cache.get(words)
    lost = set(words) - found.keys()
    assert len(lost) == 1
    assert_same(found, set(words) - lost)
    cache.put(vectors_of(lost))
    assert_same(cache.get(words), words)
    assert_same(EncodingCache(tmp_path).get(words), words)
    for segment in segments(tmp_path):
        for record in np.load(segment):
            key, vector = record['key'].tobytes(), np.array(record['vector'])
            assert record['check'].tobytes() == cache_module._check(key, vector)


def test_damaged_key_costs_one_entry(tmp_path):
    EncodingCache(tmp_path).put(vectors_of(['cat', 'dog']))
    [file] = segments(tmp_path)
    content = bytearray(file.read_bytes())
    content[-40] ^= 0xFF  # of 16 key, 8 checksum and 20 vector bytes
    file.write_bytes(content)
    cache = EncodingCache(tmp_path)
    found = cache.get(['cat', 'dog'])
    assert len(found) == 1
    assert_same(found, found.keys())
    cache.put(vectors_of({'cat', 'dog'} - found.keys()))
    assert_same(EncodingCache(tmp_path).get(['cat', 'dog']), ['cat', 'dog'])


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:3],
        lambda content: b'',
        lambda content: b'\x00' * len(content),
        lambda content: content[:10] + b'!' * (len(content) - 10),
    ],
)
def test_unreadable_segment_is_replaced(tmp_path, damage):
    EncodingCache(tmp_path).put(vectors_of(['cat', 'dog']))
    [file] = segments(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    cache = EncodingCache(tmp_path)
    assert cache.get(['cat', 'dog']) == {}
    cache.put(vectors_of(['cat', 'dog', 'wolf']))
    assert_same(EncodingCache(tmp_path).get(['cat', 'dog', 'wolf']), ['cat', 'dog', 'wolf'])
    assert file not in segments(tmp_path)


def test_unreadable_segment_of_the_same_words_is_replaced(tmp_path):
    EncodingCache(tmp_path).put(vectors_of(['cat']))
    [file] = segments(tmp_path)
    file.write_bytes(b'rubbish')
    cache = EncodingCache(tmp_path)
    cache.get(['cat'])
    cache.put(vectors_of(['cat']))
    assert segments(tmp_path) == [file]
    assert_same(EncodingCache(tmp_path).get(['cat']), ['cat'])


def test_pickle_in_the_cache_is_never_executed(tmp_path):
    np.save(tmp_path / 'evil.npy', np.array([print], dtype=object), allow_pickle=True)
    cache = EncodingCache(tmp_path)
    assert cache.get(['cat']) == {}
    cache.put(vectors_of(['cat']))
    assert not (tmp_path / 'evil.npy').exists()


def test_other_arrays_are_not_taken_for_segments(tmp_path):
    np.save(tmp_path / 'other.npy', np.zeros((3, 4)))
    assert EncodingCache(tmp_path).get(['cat']) == {}


def test_many_small_segments_are_merged(tmp_path):
    words = [f'word {number}' for number in range(100)]
    cache = EncodingCache(tmp_path)
    for word in words:
        cache.put(vectors_of([word]))
    assert len(segments(tmp_path)) <= cache_module._MERGE_COUNT
    assert_same(cache.get(words), words)
    assert_same(EncodingCache(tmp_path).get(words), words)


def test_segment_removed_by_another_process_is_a_miss(tmp_path):
    EncodingCache(tmp_path).put(vectors_of(['cat']))
    cache = EncodingCache(tmp_path)
    listed = segments(tmp_path)[0]
    listed.unlink()
    cache._open(listed)
    assert cache.get(['cat']) == {}


def _hammer(folder, seed):
    random = np.random.default_rng(seed)
    cache = EncodingCache(folder)
    for _ in range(25):
        words = [f'word {number}' for number in random.integers(0, 60, 6)]
        found = cache.get(words)
        for word, vector in found.items():
            np.testing.assert_array_equal(vector, vector_of(word))
        cache.put(vectors_of(set(words) - found.keys()))


def test_several_processes_share_a_directory(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_hammer, args=(tmp_path, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    cache = EncodingCache(tmp_path)
    words = [f'word {number}' for number in range(60)]
    found = cache.get(words)
    assert len(found) > 40
    assert_same(found, found.keys())
    assert list(tmp_path.iterdir()) != []
    assert not list(tmp_path.glob('*.tmp'))


def test_unusable_directory_warns_once_and_works_as_empty(tmp_path):
    blocker = tmp_path / 'file'
    blocker.write_text('not a directory')
    cache = EncodingCache(blocker / 'text')
    with pytest.warns(UserWarning, match='going on without') as warned:
        assert cache.get(['cat']) == {}
        cache.put(vectors_of(['cat']))
        cache.put(vectors_of(['dog']))
    assert len(warned) == 1


def test_full_disk_leaves_no_temporary_file(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(cache_module.np, 'save', fail)
    with pytest.warns(UserWarning, match='No space left'):
        EncodingCache(tmp_path).put(vectors_of(['cat']))
    assert list(tmp_path.iterdir()) == []


def test_directory_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv('OVSEG_CACHE', '/somewhere')
    assert default_cache_dir().as_posix() == '/somewhere/text'
    monkeypatch.delenv('OVSEG_CACHE')
    assert default_cache_dir().as_posix().endswith('.cache/ovseg/text')


def test_nothing_to_store_creates_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        EncodingCache(tmp_path / 'new').put({})
    assert not (tmp_path / 'new').exists()
