"""Many images in a stream: order, errors, equal labels, bounded memory."""

from __future__ import annotations

import itertools
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg.apis import OpenVocabSegmenter
from ovseg.apis.stream import Failed, Steps, answers_in_order, most_under_way, sendable
from ovseg.errors import UserError
from ovseg.images.resize import ResizeRule
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene

WORDS = 'sky; grass; water; ball'


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('maskclip-tiny', precision='float32', batch_size=3)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Paths of pictures of three sizes that take turns, a broken one and one that is missing."""
    folder = tmp_path_factory.mktemp('scenes')
    paths = []
    for index, size in zip(range(8), itertools.cycle([(96, 96), (96, 128), (64, 96)])):
        scene = sample_scene('val', index, size=size)
        paths.append(folder / f'{index}.png')
        Image.fromarray(draw(scene, whole(scene, 1)).image).save(paths[-1])
    paths[2].write_bytes(b'no picture')
    paths[5].unlink()
    return paths


@pytest.mark.parametrize('workers', [1, 3])
def test_a_stream_gives_what_segment_gives_and_goes_on_after_bad_images(segment, scenes, workers):
    results = list(segment.stream(iter(scenes), WORDS, workers=workers))
    assert len(results) == len(scenes)
    for index, (path, result) in enumerate(zip(scenes, results, strict=True)):
        if index in (2, 5):
            assert isinstance(result, Failed) and result.source == str(path)
            wanted = 'is not an image' if index == 2 else 'There is no image'
            assert wanted in result.reason and str(path) in str(result)
            continue
        alone = segment.segment(path, WORDS)
        assert result.source == str(path)
        assert np.array_equal(result.labels, alone.labels)
        assert np.array_equal(result.mean_scores, alone.mean_scores, equal_nan=True)


class Photos(torch.utils.data.Dataset):
    """What a user writes: a list of paths, and what makes of each what is wanted."""

    def __init__(self, paths, transform):
        self.paths, self.transform = paths, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.transform(self.paths[index])


def test_worker_processes_of_a_data_loader_read_the_images(segment, scenes):
    photos = Photos(scenes, segment.loader)
    loader = torch.utils.data.DataLoader(photos, batch_size=None, num_workers=1)
    results = list(segment.stream(loader, WORDS, workers=1))
    alone = list(segment.stream(scenes, WORDS, workers=1))
    assert len(results) == len(scenes)
    for result, other in zip(results, alone, strict=True):
        if isinstance(other, Failed):
            assert str(result) == str(other) and type(result.error) is type(other.error)
        else:
            assert result.source == other.source and np.array_equal(result.labels, other.labels)


def test_an_image_that_was_loaded_for_another_model_is_refused(segment, scenes):
    loaded = segment.loader(scenes[0])
    assert np.array_equal(segment(loaded, WORDS).labels, segment(scenes[0], WORDS).labels)
    other = replace(segment.loader, rule=ResizeRule(None))(scenes[0])
    with pytest.raises(UserError, match='loaded for another model'):
        segment(other, WORDS)
    (failed,) = segment.stream([other], WORDS)
    assert failed.source == str(scenes[0])


def test_an_error_of_any_kind_reaches_another_process():
    class Odd(Exception):  # of a class that nobody else can find
        pass

    sent = pickle.loads(pickle.dumps(sendable(Failed('a.png', Odd('why')))))
    assert isinstance(sent.error, UserError) and 'why' in str(sent)


def test_then_is_called_in_threads_and_what_it_raises_is_the_images_failure(segment, scenes):
    def then(result):
        if result.source.endswith('1.png'):
            raise UserError('not this one')
        return threading.current_thread().name

    kept = [segment.encode(scenes[0]), scenes[1], np.array(Image.open(scenes[3]))]
    first, second, third = segment.stream(kept, WORDS, then=then)
    assert first.startswith('ovseg-stream') and third.startswith('ovseg-stream')
    assert second.reason == 'not this one'


def test_wrong_words_and_workers_are_said_before_the_first_image(segment):
    with pytest.raises(UserError):
        segment.stream([], '')
    with pytest.raises(ValueError, match='workers must be at least 1'):
        segment.stream([], WORDS, workers=0)


def steps(**changes):
    plain = {
        'name': str,
        'load': lambda image: image,
        'size': lambda image: image % 3,
        'encode': list,
        'answer': lambda image: 10 * image,
    }
    return Steps(**{**plain, **changes})


@pytest.mark.parametrize('rare', [2, 7, 1000])
def test_an_endless_stream_holds_a_bounded_number_of_images(rare):
    """One image of ``rare`` has a size of its own, so that it waits for others in vain."""
    taken = 0

    def images():
        nonlocal taken
        for image in itertools.count():
            taken += 1
            yield image

    stream = answers_in_order(
        images(), steps(size=lambda image: image % rare == 0), lambda: 4, workers=2
    )
    most = 0
    for number in range(300):
        assert next(stream) == 10 * number
        most = max(most, taken - number)
    stream.close()
    assert most <= most_under_way(4, 2)
    assert taken <= 300 + most_under_way(4, 2)


def test_images_of_one_size_share_batches_and_the_bad_one_of_a_batch_is_found():
    batches = []

    def encode(images):
        batches.append(list(images))
        if 7 in images:
            raise UserError('seven')
        return images

    answers = list(answers_in_order(range(18), steps(encode=encode), lambda: 3, workers=2))
    assert [answer for answer in answers if not isinstance(answer, Failed)] == [
        10 * number for number in range(18) if number != 7
    ]
    assert answers[7].source == '7' and answers[7].reason == 'seven'
    assert batches[:3] == [[0, 3, 6], [1, 4, 7], [1]]
    assert [2, 5, 8] in batches and [9, 12, 15] in batches


def test_what_the_images_raise_ends_the_stream_and_leaves_no_thread():
    def images():
        yield 1
        raise KeyError('source')

    before = threading.active_count(), torch.get_num_threads()
    with pytest.raises(KeyError, match='source'):
        list(answers_in_order(images(), steps(), lambda: 2, workers=2))
    assert (threading.active_count(), torch.get_num_threads()) == before
