"""The cache on disk: content, damage, races, unusable directories."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from pathlib import Path

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


# What lies in the folder but does not count ---------------------------------------------------

WORDS = ['cat', 'dog', 'wolf']
SECRET = b'of a model'


def rewrite(path, change, secret=SECRET, sealed=True):
    """Changes the records of a segment, and then has its checksums fit again."""
    records = change(np.load(path).copy())
    if sealed:
        for record in records:
            vector = np.array(record['vector'], dtype=np.float32)
            check = cache_module._check(record['key'].tobytes(), vector, secret)
            record['check'] = np.frombuffer(check, np.uint8)
    np.save(path, records)


def with_vectors(value):
    def change(records):
        records['vector'][:] = value
        return records

    return change


def with_first_number(value):
    def change(records):
        records['vector'][:, 0] = value
        return records

    return change


def swapped(records):
    records['vector'] = records['vector'][[1, 2, 0]]
    return records


def resized(length):
    def change(records):
        changed = np.zeros(len(records), dtype=cache_module._record(length))
        changed['key'] = records['key']
        changed['vector'] = 0.5
        return changed

    return change


def as_doubles(records):
    kinds = [('key', 'u1', (16,)), ('check', 'u1', (8,)), ('vector', '<f8', (5,))]
    return records.astype(kinds)


FORGERIES = {
    'vectors of other words': lambda path: rewrite(path, swapped, sealed=False),
    'vectors of other words, sealed without the weights': lambda path: rewrite(path, swapped, b''),
    'vectors of another model': lambda path: rewrite(path, lambda records: records, b'another'),
    'NaN': lambda path: rewrite(path, with_vectors(np.nan)),
    'one NaN': lambda path: rewrite(path, with_first_number(np.nan)),
    'infinity': lambda path: rewrite(path, with_first_number(-np.inf)),
    'zeros': lambda path: rewrite(path, with_vectors(0)),
    'shorter vectors': lambda path: rewrite(path, resized(4)),
    'longer vectors': lambda path: rewrite(path, resized(6)),
    'no numbers': lambda path: rewrite(path, resized(0)),
    'double precision': lambda path: rewrite(path, as_doubles, sealed=False),
    'two dimensions': lambda path: rewrite(path, lambda records: records[None], sealed=False),
    'a version of an array that is unknown': lambda path: path.write_bytes(
        b'\x93NUMPY\x09\x00' + path.read_bytes()[8:]
    ),
    'fewer records than it says': lambda path: os.truncate(path, path.stat().st_size - 1),
    'more bytes than it says': lambda path: path.write_bytes(path.read_bytes() + b'more'),
    'a header of terabytes': lambda path: path.write_bytes(
        path.read_bytes().replace(b'(3,)', b'(999999999999,)')
    ),
}

RECORDS_STAY = {
    'two dimensions',
    'a version of an array that is unknown',
    'more bytes than it says',
}


def exchange(path, make):
    path.unlink()
    make(path)


def link_to_a_device(path):
    path.symlink_to('/dev/zero')


def link_to_a_segment(path):
    """The link leads to a file whose content would count."""
    other = path.parent / 'moved'
    path.rename(other)
    path.symlink_to(other)


NO_FILES = {
    'a pipe': lambda path: exchange(path, os.mkfifo),
    'a folder': lambda path: exchange(path, Path.mkdir),
    'a link to a device': lambda path: exchange(path, link_to_a_device),
    'a link to a segment': link_to_a_segment,
}


@pytest.mark.parametrize('damage', [*FORGERIES, *NO_FILES])
def test_what_does_not_count_is_told_once_and_replaced(tmp_path, damage):
    EncodingCache(tmp_path, SECRET, 5).put(vectors_of(WORDS))
    [file] = segments(tmp_path)
    {**FORGERIES, **NO_FILES}[damage](file)

    cache = EncodingCache(tmp_path, SECRET, 5)
    with pytest.warns(UserWarning, match='has unusable entries, which are computed anew') as told:
        assert cache.get(WORDS) == {}
        assert cache.get(['wolf']) == {}
        cache.put(vectors_of(WORDS))
        assert_same(cache.get(WORDS), WORDS)
    # A folder of that name stays what it is, and the latest vectors in memory.
    assert len([warning for warning in told if 'unusable' in str(warning.message)]) == 1
    assert len(told) == 1 + (damage == 'a folder')
    if damage != 'a folder':
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert_same(EncodingCache(tmp_path, SECRET, 5).get(WORDS), WORDS)


@pytest.mark.parametrize('damage', [*FORGERIES, *NO_FILES])
def test_a_segment_that_changes_after_it_was_opened_is_noticed(tmp_path, damage):
    EncodingCache(tmp_path, SECRET, 5).put(vectors_of(WORDS))
    cache = EncodingCache(tmp_path, SECRET, 5)
    assert_same(cache.get(['cat']), ['cat'])
    {**FORGERIES, **NO_FILES}[damage](segments(tmp_path)[0])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = cache.get(WORDS)
    # Whatever became of the rest of the file, a record that holds is one.
    assert_same(found, found.keys())
    assert (len(found) == 3) == (damage in RECORDS_STAY)


def test_a_segment_that_is_cut_after_it_was_opened_costs_what_it_lost(tmp_path):
    EncodingCache(tmp_path).put(vectors_of(WORDS))
    cache = EncodingCache(tmp_path)
    assert_same(cache.get(WORDS), WORDS)
    os.truncate(segments(tmp_path)[0], 140)
    with pytest.warns(UserWarning, match='unusable'):
        assert cache.get(WORDS) == {}


def test_names_of_files_are_printed_harmlessly(tmp_path):
    (tmp_path / 'a\x1b[31m.npy').write_bytes(b'rubbish')
    with pytest.warns(UserWarning, match='unusable') as told:
        EncodingCache(tmp_path).get(['cat'])
    assert '\x1b' not in str(told[0].message)


def test_without_a_secret_nothing_of_a_model_is_read(tmp_path):
    EncodingCache(tmp_path, SECRET).put(vectors_of(WORDS))
    with pytest.warns(UserWarning, match='of other words or weights'):
        assert EncodingCache(tmp_path).get(WORDS) == {}


def test_vectors_that_would_not_count_are_not_written(tmp_path):
    cache = EncodingCache(tmp_path, length=5)
    cache.put({'zero': np.zeros(5, np.float32), 'short': np.ones(4, np.float32)})
    assert segments(tmp_path) == []
    assert cache.get(['zero']).keys() == {'zero'}


def test_where_nothing_can_be_written_the_latest_vectors_are_known(tmp_path):
    (tmp_path / 'file').write_text('no folder')
    cache = EncodingCache(tmp_path / 'file' / 'text')
    with pytest.warns(UserWarning, match='cannot be written') as told:
        cache.put(vectors_of(['cat']))
        cache.put(vectors_of(['dog']))
        assert_same(cache.get(['cat', 'dog']), ['cat', 'dog'])
    assert len(told) == 1


def test_what_a_caller_does_to_a_vector_stays_with_him(tmp_path):
    cache = EncodingCache(tmp_path)
    cache.put(vectors_of(['cat']))
    cache.get(['cat'])['cat'][:] = 0
    assert_same(cache.get(['cat']), ['cat'])


def test_the_latest_vectors_in_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, '_RECENT', 3)
    cache = EncodingCache(tmp_path)
    words = [f'word {number}' for number in range(10)]
    cache.put(vectors_of(words))
    assert len(cache._recent) == 3
    assert_same(cache.get(words), words)


def test_several_threads_share_a_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, '_RECENT', 4)
    cache, errors = EncodingCache(tmp_path), []

    def use(seed):
        random = np.random.default_rng(seed)
        try:
            for _ in range(40):
                words = [f'word {number}' for number in random.integers(0, 60, 6)]
                found = cache.get(words)
                assert_same(found, found.keys())
                cache.put(vectors_of(set(words) - found.keys()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    words = [f'word {number}' for number in range(60)]
    assert_same(EncodingCache(tmp_path).get(words), cache.get(words).keys())
