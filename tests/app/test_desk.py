"""What the page computes: pictures encoded once, questions that know nothing of each other."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT
from simultaneous import in_threads

from ovseg import OpenVocabSegmenter
from ovseg.app.desk import Desk, Question
from ovseg.app.kept import KeptWithin
from ovseg.errors import UserError

SCENE = (ROOT / 'demo' / 'scene.png').read_bytes()
WORDS = 'sky; grass; water; red star'


@pytest.fixture(scope='module')
def tiny():
    return OpenVocabSegmenter(device='cpu', precision='float32')


class Counted:
    """A model that counts the pictures that it encodes."""

    def __init__(self, segment):
        self._segment, self.encoded = segment, 0
        self.nearest_words = segment.nearest_words

    def __call__(self, *asked, **settings):
        return self._segment(*asked, **settings)

    def encode(self, image):
        self.encoded += 1
        return self._segment.encode(image)


@pytest.fixture
def counted(tiny):
    return Counted(tiny)


def desk_of(segment, megabytes=100, names=('maskclip-tiny',)):
    return Desk(list(names), lambda name: segment, megabytes)


def png(value, size=(40, 60)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, format='PNG')
    return buffer.getvalue()


def asked(desk, data=SCENE, words=WORDS, **settings):
    return Question(desk.receive(data), 'scene.png', 'maskclip-tiny', words, **settings)


def test_a_picture_is_encoded_once_whatever_is_asked(counted, tiny):
    desk = desk_of(counted)
    question = asked(desk)
    first = desk.ask(question)
    second = desk.ask(replace(question, words='grass; ball', background='sky', threshold=0.3))
    desk.why(question, 3, 4)
    assert counted.encoded == 1
    image = tiny.encode(ROOT / 'demo' / 'scene.png')
    assert (first.result.labels == tiny(image, WORDS).labels).all()
    expected = tiny(image, 'grass; ball', background='sky', threshold=0.3)
    assert second.result.names == expected.names
    assert (second.result.labels == expected.labels).all()
    assert first.result.source == 'scene.png' and not first.notices


def test_pictures_beyond_the_memory_make_room_and_come_back_from_their_bytes(counted):
    desk = desk_of(counted, megabytes=0.05)  # room for one encoded picture, and for all bytes
    first, second = asked(desk, png(30)), asked(desk, png(200))
    for question in (first, second, first):
        desk.ask(question)
    assert counted.encoded == 3


def test_a_picture_that_is_gone_is_a_sentence(tiny):
    desk = desk_of(tiny, megabytes=len(SCENE) / 1e6)
    question = asked(desk)
    asked(desk, SCENE + b' ')
    with pytest.raises(UserError, match='no longer here.*Drop it again'):
        desk.ask(question)


def test_two_at_once_get_what_they_get_alone(tiny):
    desk = desk_of(tiny)
    mine = asked(desk, words='sky; grass')
    yours = asked(desk, png(90), words='water; red star', background='sky')
    alone = [desk.ask(question).result for question in (mine, yours)]
    desk = desk_of(tiny)
    [desk.receive(data) for data in (SCENE, png(90))]
    together = in_threads(lambda number: desk.ask((mine, yours)[number % 2]))
    for number, answer in enumerate(together):
        assert answer.result.names == alone[number % 2].names
        assert (answer.result.labels == alone[number % 2].labels).all()
    assert alone[0].names == ('sky', 'grass')


def test_notices_stand_with_each_answer_and_are_no_warnings(tiny, recwarn):
    desk = desk_of(tiny)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format='PNG')
    question = asked(desk, buffer.getvalue(), words='sky; banana')
    for _ in range(2):
        about_picture, about_words = desk.ask(question).notices
        assert 'does not look like' in about_picture and "'banana'" in about_words
    assert not desk.ask(replace(asked(desk), words='sky; grass')).notices
    assert not [each for each in recwarn if each.category.__name__ == 'Notice']


def bomb():
    """A PNG file of a few bytes whose header promises more pixels than Pillow takes."""
    data = bytearray(png(0))
    data[16:24] = (20000).to_bytes(4, 'big') * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    return bytes(data)


@pytest.mark.parametrize(
    ('data', 'settings', 'part'),
    [
        (b'', {}, 'scene.png is empty'),
        (SCENE[:4000], {}, 'scene.png is damaged or cut off'),
        (bomb(), {}, 'scene.png has more than 178 megapixels'),
        (SCENE, {'words': 'sky;;'}, 'class 2'),
        (SCENE, {'words': ''}, 'No words were given'),
        (SCENE, {'threshold': 2.0}, 'threshold'),
        (SCENE, {'background': 'sky'}, 'leave it out of one of them'),
    ],
)
def test_bad_input_is_a_sentence(tiny, data, settings, part):
    desk = desk_of(tiny)
    with pytest.raises(UserError, match=part):
        desk.ask(asked(desk, data, **settings))


def test_words_that_name_a_file_are_words(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'secret.txt').write_text('grass\nwater\n')
    desk = desk_of(tiny)
    for path in ('secret.txt', str(tmp_path / 'secret.txt')):
        result = desk.ask(asked(desk, words=path, background='sky')).result
        assert 'grass' not in result.names and len(result.names) == 2


def test_of_models_the_first_and_the_last_asked_for_are_kept(tiny):
    loaded, names = [], ('maskclip-tiny', 'trident-tiny', 'proxyclip-tiny')

    def load(name):
        loaded.append(name)
        return tiny

    desk = Desk(list(names), load, 100)
    question = asked(desk)
    for name in (*names, 'proxyclip-tiny', 'maskclip-tiny', 'trident-tiny'):
        desk.ask(replace(question, model=name))
    assert loaded == [*names, 'trident-tiny']
    with pytest.raises(UserError, match="Did you mean 'maskclip-tiny'"):
        desk.ask(replace(question, model='maskclip-tny'))


def test_the_last_value_is_kept_even_if_it_is_too_large():
    kept = KeptWithin(1)
    kept.put('small', 1, 10)
    kept.put('large', 2, 3_000_000)
    assert kept.get('small') is None and kept.get('large') == 2
    kept.put('large', 3, 10)
    kept.put('small', 4, 10)
    kept.drop(lambda key: key == 'large')
    assert kept.get('large') is None and kept.get('small') == 4
