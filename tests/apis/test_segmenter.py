"""Images and words in, results out."""

from __future__ import annotations

import logging
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.structures import SegDataSample
from PIL import Image

from ovseg.apis import OpenVocabSegmenter, SegmentationResult
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.vocabulary import Vocabulary

CONFIG = Path(__file__).parents[1] / 'data' / 'configs' / 'random_tiny.py'
WORDS = 'cat, kitten; sofa; wall'


@pytest.fixture(scope='module')
def segment() -> OpenVocabSegmenter:
    torch.manual_seed(0)
    return OpenVocabSegmenter(CONFIG)


@pytest.fixture
def fresh_segment() -> OpenVocabSegmenter:
    """For tests that change the segmenter."""
    torch.manual_seed(0)
    return OpenVocabSegmenter(CONFIG)


def noise(height: int = 40, width: int = 70, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return mmcv.imresize(coarse, (width, height))


def test_result_carries_labels_words_and_scores(segment):
    result = segment(noise(), WORDS)
    assert isinstance(result, SegmentationResult)
    assert result.labels.shape == (40, 70)
    assert result.names == ('cat', 'sofa', 'wall')
    assert len(set(result.palette)) == 3
    assert result.background_index is None
    assert result.scores is None
    assert len(np.unique(result.labels)) > 1
    for area in result.areas():
        assert 1 / 3 <= area.score <= 1


def test_labels_are_those_of_the_mmseg_path(segment):
    image = noise(90, 120)
    segment.model.set_vocabulary(WORDS)
    bgr = mmcv.imrescale(np.ascontiguousarray(image[..., ::-1]), (256, 64))
    inputs = torch.from_numpy(bgr).permute(2, 0, 1)
    sample = SegDataSample(metainfo={'ori_shape': (90, 120)})
    predicted = segment.model.test_step({'inputs': [inputs], 'data_samples': [sample]})[0]
    expected = predicted.pred_sem_seg.data[0].numpy()
    assert (segment(image, WORDS).labels == expected).all()


def test_scores_are_probabilities_that_explain_the_labels(segment):
    result = segment(noise(), WORDS, scores=True)
    assert result.scores.shape == (3, 40, 70)
    assert np.allclose(result.scores.sum(axis=0), 1, atol=1e-5)
    assert (result.scores.argmax(axis=0) == result.labels).all()
    for area in result.areas():
        own = result.scores[area.index][result.labels == area.index]
        assert area.score == pytest.approx(own.mean(), abs=1e-5)


def test_mean_scores_do_not_depend_on_strips(fresh_segment):
    whole = fresh_segment(noise(), WORDS)
    fresh_segment.memory.budget = MemoryBudget(0.01)
    assert np.allclose(fresh_segment(noise(), WORDS).mean_scores, whole.mean_scores)


def test_encode_once_ask_twice_runs_the_encoder_once(fresh_segment, monkeypatch):
    image = noise()
    direct = fresh_segment(image, 'sofa; tree').labels
    encoded = fresh_segment.encode(image)

    def refuse(*args, **kwargs):
        raise AssertionError('the encoder ran again')

    monkeypatch.setattr(fresh_segment.model, 'encode', refuse)
    assert (fresh_segment(encoded, 'sofa; tree').labels == direct).all()
    assert fresh_segment(encoded, WORDS).names == ('cat', 'sofa', 'wall')


def test_words_are_encoded_once(fresh_segment, monkeypatch):
    calls = []
    build = fresh_segment.model.build_classifier
    monkeypatch.setattr(
        fresh_segment.model, 'build_classifier', lambda words: calls.append(1) or build(words)
    )
    for _ in range(3):
        fresh_segment(noise(), WORDS)
    fresh_segment(noise(), WORDS, threshold=0.5)
    assert len(calls) == 2


def test_a_list_gives_the_results_of_single_calls_in_order(segment, monkeypatch):
    images = [noise(seed=0), noise(60, 50, seed=1), noise(seed=2), noise(seed=3)]
    singles = [segment(image, WORDS).labels for image in images]
    batches = []
    encode = segment.model.encode
    monkeypatch.setattr(
        segment.model,
        'encode',
        lambda images, *at_once: batches.append(len(images)) or encode(images, *at_once),
    )
    results = segment(images, WORDS)
    assert sorted(batches) == [1, 3]
    for result, single in zip(results, singles, strict=True):
        assert (result.labels != single).mean() < 0.002


def test_lists_may_mix_encoded_images_and_others(segment, tmp_path):
    Image.fromarray(noise(seed=5)).save(tmp_path / 'photo.png')
    results = segment(
        [segment.encode(noise()), tmp_path / 'photo.png', Image.new('L', (9, 9))], WORDS
    )
    assert [result.labels.shape for result in results] == [(40, 70), (40, 70), (9, 9)]
    assert [Path(result.source).name for result in results] == ['', 'photo.png', '']
    assert segment([], WORDS) == []


def test_encoded_images_of_another_model_are_refused(segment):
    torch.manual_seed(1)
    encoded = OpenVocabSegmenter(CONFIG).encode(noise())
    with pytest.raises(UserError, match='encoded by another model'):
        segment(encoded, WORDS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.one_of(
        st.tuples(st.integers(1, 200), st.integers(1, 200)),
        st.tuples(st.integers(1, 3), st.integers(1, 4000)),
        st.tuples(st.integers(1, 4000), st.integers(1, 3)),
    )
)
def test_any_shape_gives_labels_of_that_shape(segment, size):
    image = np.full((*size, 3), 120, np.uint8)
    result = segment(image, WORDS)
    assert result.labels.shape == size
    assert result.labels.max() <= 2
    assert sum(area.pixels for area in result.areas()) == size[0] * size[1]


@pytest.mark.parametrize(
    'words', [['cat', 'sofa'], Vocabulary.parse('cat; sofa'), {'classes': ('cat', 'sofa')}]
)
def test_words_in_any_form(segment, words):
    assert segment(noise(), words).names == ('cat', 'sofa')


def test_words_from_a_file(segment, tmp_path):
    (tmp_path / 'words.txt').write_text('cat, kitten\nsofa\n')
    assert segment(noise(), str(tmp_path / 'words.txt')).names == ('cat', 'sofa')


def test_background_words_become_one_class(segment):
    result = segment(noise(), 'cat; sofa', background='sky, wall; floor')
    assert result.names == ('background', 'cat', 'sofa')
    assert result.background_index == 0
    listed = segment(noise(), 'cat; sofa', background=['sky', 'wall', 'floor'])
    assert (listed.labels == result.labels).all()


def test_threshold_sends_unsure_pixels_to_the_background(segment):
    sure = segment(noise(), WORDS, threshold=0.0)
    none = segment(noise(), WORDS, threshold=1.0)
    assert none.names[0] == 'background'
    assert (none.labels == 0).all()
    assert none.areas()[0].score is None
    assert (sure.labels > 0).all()


def test_constructor_words_serve_calls_without_words():
    segment = OpenVocabSegmenter(CONFIG, vocabulary='tree; lake', background='sky')
    assert segment(noise()).names == ('background', 'tree', 'lake')
    assert segment(noise(), 'cat').names == ('background', 'cat')


def test_calls_without_any_words_say_what_is_missing(segment):
    with pytest.raises(UserError, match='No words were given'):
        segment(noise())


def test_templates_change_the_scores():
    torch.manual_seed(0)
    single = OpenVocabSegmenter(CONFIG)
    torch.manual_seed(0)
    other = OpenVocabSegmenter(CONFIG, templates=['a drawing of a {}.', 'many {}'])
    first, second = (model(noise(), WORDS).mean_scores for model in (single, other))
    assert not np.allclose(first, second, equal_nan=True)


def test_weights_from_a_file(tmp_path, fresh_segment):
    path = tmp_path / 'weights.pt'
    torch.save(fresh_segment.model.clip.state_dict(), path)
    loaded = OpenVocabSegmenter(CONFIG, checkpoint=path)
    expected = fresh_segment(noise(), WORDS)
    assert (loaded(noise(), WORDS).labels == expected.labels).all()


def test_weights_that_turn_bad_in_memory_are_noticed(fresh_segment):
    with torch.no_grad():
        fresh_segment.model.clip.visual.conv1.weight[0] = float('nan')
    with pytest.raises(UserError, match='NaN'):
        fresh_segment(noise(), WORDS)


def test_devices_that_are_not_there_are_named():
    with pytest.raises(UserError, match="no device 'gpu9'"):
        OpenVocabSegmenter(CONFIG, device='gpu9')
    with pytest.raises(UserError, match=r"no device 'cuda:77'"):
        OpenVocabSegmenter(CONFIG, device='cuda:77')


def test_a_config_without_a_model_is_named(tmp_path):
    (tmp_path / 'empty.py').write_text('resize = dict(scale=(64, 64))\n')
    with pytest.raises(UserError, match=r'empty\.py has no model'):
        OpenVocabSegmenter(tmp_path / 'empty.py')


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match='batch_size'):
        OpenVocabSegmenter(CONFIG, batch_size=0)


# Out of memory -------------------------------------------------------------------------------


def run_out(*args, **kwargs):
    raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated).')


def test_labelling_falls_back_to_smaller_strips_and_says_so_once(
    fresh_segment, monkeypatch, caplog
):
    expected = fresh_segment(noise(), WORDS)
    tried = []
    label = fresh_segment.model.segment

    def label_in_little_memory(*args, budget, **kwargs):
        tried.append(budget.megabytes)
        if budget.megabytes > 20:
            run_out()
        return label(*args, budget=budget, **kwargs)

    monkeypatch.setattr(fresh_segment.model, 'segment', label_in_little_memory)
    with caplog.at_level(logging.WARNING, 'ovseg'):
        results = [fresh_segment(noise(), WORDS) for _ in range(2)]
    assert tried == [256, 64, 16, 16]
    assert [record.getMessage() for record in caplog.records] == [
        'Memory ran out: the image is labelled in smaller strips.'
    ]
    for result in results:
        assert (result.labels == expected.labels).all()
        assert np.allclose(result.mean_scores, expected.mean_scores, equal_nan=True)


def test_labelling_that_never_fits_is_one_sentence(fresh_segment, monkeypatch):
    monkeypatch.setattr(fresh_segment.model, 'segment', run_out)
    with pytest.raises(UserError, match='memory of cpu does not suffice for 3 classes on 40 x 70'):
        fresh_segment(noise(), WORDS)


def test_encoding_falls_back_to_smaller_batches(fresh_segment, monkeypatch, caplog):
    images = [noise(seed=seed) for seed in range(5)]
    expected = [fresh_segment(image, WORDS).labels for image in images]
    encode = fresh_segment.model.encode
    monkeypatch.setattr(
        fresh_segment.model,
        'encode',
        lambda images, *at_once: run_out() if len(images) > 2 else encode(images, *at_once),
    )
    with caplog.at_level(logging.WARNING, 'ovseg'):
        results = fresh_segment(images, WORDS)
    assert len(caplog.records) == 1
    for result, labels in zip(results, expected, strict=True):
        assert (result.labels != labels).mean() < 0.002


def test_windows_fall_back_to_smaller_batches(tmp_path, monkeypatch):
    config = Config.fromfile(CONFIG)
    config.model.test_cfg = {'mode': 'slide', 'crop_size': 32, 'stride': 16}
    config.dump(tmp_path / 'windows.py')
    segment = OpenVocabSegmenter(tmp_path / 'windows.py')
    expected = segment(noise(), WORDS).labels
    encoder = segment.model.encoder
    forward = encoder.forward
    monkeypatch.setattr(
        encoder, 'forward', lambda x, *rest: run_out() if len(x) > 2 else forward(x, *rest)
    )
    assert (segment(noise(), WORDS).labels != expected).mean() < 0.002
    assert segment.memory.window_batch == 2
    # The model's own settings are left as they are.
    assert segment.model.inference_settings.window_batch == 8


def test_an_image_that_never_fits_is_one_sentence(fresh_segment, monkeypatch):
    monkeypatch.setattr(fresh_segment.model, 'encode', run_out)
    with pytest.raises(UserError, match='memory of cpu does not suffice for one image of 64 x 112'):
        fresh_segment(noise(), WORDS)


def test_other_errors_are_not_taken_for_lack_of_memory(fresh_segment, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('something else')

    monkeypatch.setattr(fresh_segment.model, 'encode', fail)
    with pytest.raises(RuntimeError, match='something else'):
        fresh_segment(noise(), WORDS)


@pytest.mark.gpu
def test_gpu_and_cpu_agree(tmp_path, fresh_segment):
    path = tmp_path / 'weights.pt'
    torch.save(fresh_segment.model.clip.state_dict(), path)
    images = [noise(300, 400, seed) for seed in range(3)]
    on_cpu = OpenVocabSegmenter(CONFIG, checkpoint=path, device='cpu')(images, WORDS)
    on_gpu = OpenVocabSegmenter(CONFIG, checkpoint=path)
    assert on_gpu.device.type == 'cuda'
    for first, second in zip(on_cpu, on_gpu(images, WORDS), strict=True):
        assert (first.labels != second.labels).mean() < 0.01
