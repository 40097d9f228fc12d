from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg.apis.building import build_model
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.config_files import read_config
from ovseg.errors import UserError
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.demo import demo_scene
from ovseg.scenes.draw import draw

WORDS = 'sky; grass; water; ball'


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')


@pytest.fixture(scope='module')
def scene(segment):
    """An encoded picture, and a mask for each class of Scenes."""
    drawn = demo_scene()
    picture = draw(drawn)
    labels = class_labels(drawn, picture)
    image = segment.encode(np.ascontiguousarray(picture.image))
    return image, {name: labels == number for number, name in enumerate(CLASSES)}


@pytest.fixture(autouse=True)
def _forgets(request):
    yield
    segment = request.getfixturevalue('segment')
    if segment.bank is not None:
        segment.forget()


def test_what_was_taught_counts_in_the_next_answer_and_is_forgotten(segment, scene):
    image, masks = scene
    words = 'sky; grass; water; thing 7'
    before = segment(image, words)
    segment.teach('sky', image, masks['sky'])
    bank = segment.teach('thing 7', image, masks['ball'], has_words=False)
    assert bank.counts() == {'sky': 1, 'thing 7': 1}
    after = segment(image, words)
    found = [
        (masks['ball'] & (answer.labels == 3)).sum() / (masks['ball'] | (answer.labels == 3)).sum()
        for answer in (before, after)
    ]
    assert found[0] < 0.2 < 0.35 < found[1]
    segment.forget('thing 7')
    assert segment.bank.names == ('sky',)
    segment.forget()
    assert np.array_equal(segment(image, words).labels, before.labels)


@pytest.mark.parametrize(
    'rule', ['bayes', 'gda', 'tip', 'proto-clip', 'multi-modal', 'rns', 'text']
)
def test_every_rule_answers_and_text_is_words_alone(segment, scene, rule):
    image, masks = scene
    plain = segment(image, WORDS).labels
    segment.teach('ball', image, masks['ball'])
    segment.teach('sky', image, masks['sky'])
    segment.model.taught.rule = {'name': rule, **({'steps': 30} if rule == 'rns' else {})}
    try:
        answer = segment(image, WORDS)
        assert set(np.unique(answer.labels)) <= set(range(4))
        assert np.array_equal(answer.labels, plain) == (rule == 'text') or rule == 'tip'
    finally:
        segment.model.taught.rule = 'proto'


def test_a_mask_a_file_clicks_a_box_and_a_scribble_teach(segment, scene, tmp_path):
    import cv2

    image, masks = scene
    rows, columns = masks['ball'].nonzero()
    x, y = int(columns.mean()), int(rows.mean())
    cv2.imwrite(str(tmp_path / 'ball.png'), masks['ball'].astype(np.uint8))
    segment.teach('ball', image, torch.from_numpy(masks['ball']))
    with pytest.warns(UserWarning, match='are in the bank already'):  # as a file it is the same
        segment.teach('ball', image, tmp_path / 'ball.png')
    segment.teach('ball', image, [(x, y)])
    segment.teach('ball', image, scribble=[(x - 5, y), (x + 5, y)])
    with pytest.warns(UserWarning, match='has no SAM'):
        segment.teach('ball', image, (x - 10, y - 10, x + 10, y + 10))
    vectors = segment.bank.vectors.float()
    assert len(vectors) == 4 and len(segment.bank.images) == 1
    assert (vectors @ vectors.T > 0.5).all()


def test_a_bank_is_saved_loaded_and_refused_by_another_model(segment, scene, tmp_path):
    image, masks = scene
    segment.teach('ball', image, masks['ball'])
    taught = segment(image, WORDS).labels
    path = segment.save_bank(tmp_path / 'b.safetensors', note='drawn')
    segment.forget()
    assert segment.load_bank(path, rule='proto').note == 'drawn'
    assert np.array_equal(segment(image, WORDS).labels, taught)
    other = OpenVocabSegmenter('proxyclip-tiny', device='cpu', precision='float32')
    with pytest.raises(UserError, match=r'made with tiny.*\], but what is in use is tiny.*Proxy'):
        other.load_bank(path)
    assert other.bank is None
    half = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='bfloat16')
    with pytest.raises(
        UserError, match=r'kk, float32 \[.*in use is .*kk, bfloat16 \[.*--precision'
    ):
        half.load_bank(path)


def test_a_config_names_a_bank_and_a_rule(segment, scene, tmp_path):
    image, masks = scene
    segment.teach('ball', image, masks['ball'])
    wanted = segment(image, WORDS).labels
    path = segment.save_bank(tmp_path / 'b.safetensors')
    config = read_config(segment.config_path)
    config.model.text = {**(config.model.get('text') or {}), 'bank': str(path), 'rule': 'proto'}
    config.model.vocabulary = WORDS
    model = build_model(config).eval()
    with torch.inference_mode():
        found = model.segment(image.encoding, image.image.shape[:2]).labels
    assert np.array_equal(found.numpy(), wanted)
    assert 'ball' in model.taught.bank.names and model.protocol()['rule'] == 'proto'
    # Other sentences and other rules for words leave the features, and the bank, what they are.
    config.model.text = {'bank': str(path), 'templates': 'single', 'combine': 'max'}
    assert len(build_model(config).taught.bank) == 1
    config.model.text['rule'] = 'text'
    assert 'rule' not in build_model(config).protocol()
    config.model.text = {'bank': str(tmp_path / 'none.safetensors')}
    with pytest.raises(FileNotFoundError, match='none.safetensors does not exist'):
        build_model(config)


def test_a_bad_example_leaves_the_bank_as_it_was(segment, scene):
    image, masks = scene
    bank = segment.teach('ball', image, masks['ball'])
    for call, said in (
        (lambda: segment.teach('sky', image, masks['sky'][:-1]), 'same size as the image'),
        (lambda: segment.teach('sky', image, np.zeros_like(masks['sky'])), 'marks nothing'),
        (lambda: segment.teach('sky', image, np.full(masks['sky'].shape, 255)), '255 everywhere'),
        (lambda: segment.teach(' ', image, masks['sky']), 'needs the name'),
        (lambda: segment.teach('sky', image), 'Give one mark'),
        (lambda: segment.forget('sky'), "no class 'sky'"),
        (lambda: segment.load_bank('nowhere.safetensors'), 'does not exist'),
        (lambda: segment.load_bank(__file__), 'is no bank'),
    ):
        with pytest.raises((UserError, FileNotFoundError), match=said):
            call()
    assert segment.bank is bank


def test_models_that_name_masks_say_that_they_take_no_examples(scene):
    segment = OpenVocabSegmenter('ovseg-tiny', device='cpu', precision='float32')
    with pytest.raises(UserError, match='ovseg-tiny takes no examples'):
        segment.teach('ball', scene[0].image, scene[1]['ball'])
    assert segment.bank is None
