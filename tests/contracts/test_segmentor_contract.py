"""What every segmentor promises, whatever its method; models are shared and left as they were."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache

import pytest
import tiny_segmentors
import torch
from mmseg.structures import SegDataSample
from registered import SIZES, check_table, half, unchanged
from tiny_segmentors import CASES, CLOSED, OTHER_WORDS, SEGMENTORS, config_of, pictures

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors.base import Segmentor
from ovseg.vocabulary import build_vocabulary

LARGE, TINY = MemoryBudget(1e4), MemoryBudget(1e-6)
_REFUSED = r"trained for 4 classes .* 'dog' is none of them|no other words \(cat; dog\)"
SIZE = (50, 71)  # no multiple of any patch
every_segmentor = pytest.mark.parametrize('case', CASES)


@cache
def model_of(case):
    return tiny_segmentors.build(case)


def count_of(case):
    return 2 if CASES[case][0] in OTHER_WORDS else 4


def other_words(case):
    return OTHER_WORDS.get(CASES[case][0], 'wall; cat')


@cache
def encoding_of(case):
    return encode(case, pictures(SIZE))[0]


@torch.no_grad()
def encode(case, images):
    model = model_of(case)
    kept = {'originals': None, 'names': None} | {
        key: getattr(images, key) for key in model.reads - {'paths'}
    }
    return model.encode(Images(images.inputs, **kept))


@torch.no_grad()
def decide(case, encoding, size, **settings):
    return model_of(case).segment(encoding, size, **settings)


def samples_of(images, size, **meta):
    samples = []
    for original in images.originals:
        samples.append(SegDataSample(metainfo={'ori_shape': size, **meta}))
        samples[-1].original_image = original
    return samples


def predicted(case, images, size, **meta):
    samples = model_of(case).predict(images.inputs, samples_of(images, size, **meta))
    return torch.stack([sample.pred_sem_seg.data[0] for sample in samples])


def labels_of(model, images):
    (sample,) = model.predict(images.inputs, samples_of(images, SIZE))
    return sample.pred_sem_seg.data[0]


def assert_nearly_equal(first, second, share=1e-2):
    """Labels of computations that differ by rounding: pixels on an edge may fall either way."""
    assert first.shape == second.shape
    assert (first != second).float().mean() <= share


def test_every_registered_segmentor_is_here():
    check_table('segmentor', SEGMENTORS, 'SEGMENTORS of tests/tiny_segmentors.py')
    assert {type(model_of(case)).__name__ for case in CASES} == set(SEGMENTORS)


@every_segmentor
def test_scores_of_the_tiny_model_differ_from_place_to_place(case):
    """Else whatever the others compare would be alike without any computation."""
    scores = decide(case, encoding_of(case), SIZE, keep_scores=True).scores
    assert (scores.amax((1, 2)) - scores.amin((1, 2))).max() > 5e-3


@every_segmentor
def test_any_image_gets_labels_at_any_size(case):
    for size in SIZES:
        (encoding,) = encode(case, pictures(size))
        assert encoding.is_finite, size
        for wanted in (size, (7, 90)):
            decision = decide(case, encoding, wanted, keep_scores=True)
            assert decision.labels.shape == wanted and decision.labels.dtype == torch.int64
            assert decision.labels.min() >= 0 and decision.labels.max() < 4
            assert decision.scores.shape == (count_of(case), *wanted)
            assert torch.isfinite(decision.scores).all(), size


@every_segmentor
def test_images_are_encoded_alike_alone_and_in_a_batch(case):
    images = pictures(SIZE, 3, seed=2)
    together = encode(case, images)
    assert len(together) == 3
    for index, encoding in enumerate(together):
        (alone,) = encode(case, images[index : index + 1])
        ours, theirs = (decide(case, each, SIZE, keep_scores=True) for each in (encoding, alone))
        assert torch.allclose(ours.scores, theirs.scores, atol=2e-3)
        assert_nearly_equal(ours.labels, theirs.labels)


@every_segmentor
def test_images_of_a_batch_are_predicted_as_each_alone(case):
    images, model = pictures(SIZE, 2, seed=2), model_of(case)
    together = model.predict(images.inputs, samples_of(images, SIZE), keep_scores=True)
    assert not torch.allclose(*(sample.seg_logits.data for sample in together), atol=1e-2)
    for index, sample in enumerate(together):
        one = images[index : index + 1]
        (alone,) = model.predict(one.inputs, samples_of(one, SIZE), keep_scores=True)
        ours, theirs = sample.seg_logits.data.exp(), alone.seg_logits.data.exp()
        assert torch.allclose(ours, theirs, atol=2e-3)


@every_segmentor
@torch.no_grad()
def test_score_maps_are_read_by_rows_and_channels(case):
    model = model_of(case)
    scores = model.scores(encoding_of(case), model.classifier, (60, 41), TINY)
    assert scores.size == (60, 41) and scores.channels == len(model.rule(model.classifier).groups)
    whole = model.scores(encoding_of(case), model.classifier, (60, 41), LARGE).rows(0, 60)
    assert whole.shape == (scores.channels, 60, 41)
    strips = torch.cat([scores.rows(start, min(start + 7, 60)) for start in range(0, 60, 7)], 1)
    assert torch.allclose(strips, whole, atol=1e-4)
    assert torch.allclose(scores.rows(20, 33, slice(1, 3)), whole[1:3, 20:33], atol=1e-4)
    index = torch.tensor([scores.channels - 1, 0])
    assert torch.allclose(scores.rows(20, 33, index), whole[index, 20:33], atol=1e-4)
    values, channels = scores.largest(5, 9)
    assert torch.allclose(values, whole[:, 5:9].amax(0), atol=1e-4)
    assert_nearly_equal(channels, whole[:, 5:9].argmax(0))
    assert torch.allclose(scores.total(5, 9), whole[:, 5:9].clamp_min(0).sum(0), atol=1e-3)
    assert torch.allclose(scores.whole(TINY), whole, atol=1e-4)


@every_segmentor
def test_the_budget_changes_no_label_and_no_score(case):
    small, large = (
        decide(case, encoding_of(case), (60, 41), measure=True, keep_scores=True, budget=budget)
        for budget in (TINY, LARGE)
    )
    assert_nearly_equal(small.labels, large.labels, 1e-3)
    assert torch.allclose(small.scores, large.scores, atol=1e-4)
    assert_nearly_equal(decide(case, encoding_of(case), (60, 41), budget=TINY).labels, large.labels)


@every_segmentor
def test_mean_scores_are_those_of_the_returned_labels(case):
    measured = decide(case, encoding_of(case), (60, 41), measure=True, budget=TINY)
    kept = decide(case, encoding_of(case), (60, 41), keep_scores=True)
    assert torch.equal(measured.labels, kept.labels)
    wanted = torch.full((count_of(case),), float('nan'), dtype=torch.float64)
    for label in kept.labels.unique():
        if label != kept.wordless:
            wanted[label] = kept.scores[label][kept.labels == label].double().mean()
    means = measured.mean_scores()
    assert torch.allclose(means, wanted, atol=1e-4, equal_nan=True)
    assert torch.isfinite(means).any()


@every_segmentor
def test_only_a_model_that_moves_pixels_finishes_a_decision(case):
    model = model_of(case)
    decision = decide(case, encoding_of(case), SIZE)
    if not model.moves_pixels:
        assert model.finish(decision, encoding_of(case)) is decision
    else:
        assert type(model).finish is not Segmentor.finish


@every_segmentor
def test_paddings_are_left_out_and_flips_are_undone(case):
    images = pictures(SIZE, 2, seed=3)
    plain = predicted(case, images, (45, 66))
    padded = torch.nn.functional.pad(images.inputs, (3, 5, 2, 4))
    again = predicted(
        case, Images(padded, images.originals), (45, 66), img_padding_size=(3, 5, 2, 4)
    )
    assert_nearly_equal(plain, again, 1e-3)
    for direction, axes in {'horizontal': [1], 'vertical': [0], 'diagonal': [0, 1]}.items():
        mirrored = Images(
            images.inputs.flip([2 + axis for axis in axes]),
            [torch.from_numpy(each).flip(axes).numpy() for each in images.originals],
        )
        unaware = predicted(case, mirrored, (45, 66)).flip([1 + axis for axis in axes])
        facts = {'flip': True, 'flip_direction': direction}
        # What is kept at its own size is not mirrored: the model does that.
        samples = samples_of(images, (45, 66), **facts)
        model_of(case).predict(mirrored.inputs, samples, keep_scores=direction == 'diagonal')
        aware = torch.stack([sample.pred_sem_seg.data[0] for sample in samples])
        assert_nearly_equal(aware, unaware, 1e-3)
    # Scores, kept for the last one, lie as the labels do.
    best = torch.stack([sample.seg_logits.data.argmax(0) for sample in samples])
    kept = samples_of(mirrored, (45, 66))
    model_of(case).predict(mirrored.inputs, kept, keep_scores=True)
    wanted = torch.stack([sample.seg_logits.data.argmax(0) for sample in kept]).flip(1, 2)
    assert_nearly_equal(best, wanted, 1e-3)


@every_segmentor
def test_predictions_hold_labels_and_scores_only_when_asked_for(case):
    images, model = pictures(SIZE), model_of(case)
    (plain,) = model.predict(images.inputs, samples_of(images, (45, 66)))
    assert 'seg_logits' not in plain and plain.pred_sem_seg.data.shape == (1, 45, 66)
    (asked,) = model.predict(images.inputs, samples_of(images, (45, 66)), keep_scores=True)
    assert asked.seg_logits.data.shape == (count_of(case), 45, 66)
    assert torch.equal(asked.pred_sem_seg.data, plain.pred_sem_seg.data)


@every_segmentor
def test_predicting_changes_nothing_and_leaves_no_hook(case):
    model, images = model_of(case), pictures(SIZE, 2)
    inputs, originals = images.inputs.clone(), copy.deepcopy(images.originals)
    state = copy.deepcopy(model.state_dict())
    with unchanged(model):
        first = predicted(case, images, SIZE)
    assert torch.equal(predicted(case, images, SIZE), first)
    assert torch.equal(images.inputs, inputs)
    assert all((a == b).all() for a, b in zip(images.originals, originals, strict=True))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


@every_segmentor
def test_words_may_change_and_come_back(case):
    model, images = copy.deepcopy(model_of(case)), pictures(SIZE)
    old, before = model.vocabulary, labels_of(model, images)
    if CASES[case][0] in CLOSED:
        with pytest.raises(UserError, match=_REFUSED):
            model.set_vocabulary('cat; dog')
        assert model.vocabulary is old
        return
    model.set_vocabulary('cat; dog; grass; wall; tree, bush')
    assert model.num_classes == model.out_channels == 5
    assert model.vocabulary.names == ('cat', 'dog', 'grass', 'wall', 'tree')
    # An encoding knows no words: the one of before serves.
    with torch.no_grad():
        decision = model.segment(encoding_of(case), SIZE, keep_scores=True)
    assert decision.scores.shape == (5, *SIZE)
    assert torch.equal(labels_of(model, images), decision.labels)
    with pytest.raises(ValueError):
        model.set_vocabulary('; ;')
    assert model.num_classes == 5
    model.set_vocabulary(old)
    assert torch.equal(labels_of(model, images), before)


@every_segmentor
def test_another_classifier_answers_without_the_model_changing(case):
    model, before = model_of(case), decide(case, encoding_of(case), SIZE).labels
    words = build_vocabulary(other_words(case))
    asked = model.build_classifier(words)
    labels = decide(case, encoding_of(case), SIZE, classifier=asked).labels
    assert set(labels.unique().tolist()) <= {0, 1} and model.num_classes == count_of(case)
    assert torch.equal(decide(case, encoding_of(case), SIZE).labels, before)


@every_segmentor
def test_the_protocol_is_plain_data(case):
    protocol = model_of(case).protocol()
    assert json.loads(json.dumps(protocol)).keys() == protocol.keys()
    assert protocol['background'] == model_of(case).vocabulary.rejection.describe()


@every_segmentor
def test_copies_and_pickles_label_alike(case):
    model, images = model_of(case), pictures(SIZE)
    labels = predicted(case, images, SIZE)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(labels_of(other, images), labels[0])
        # Words of a copy are its own.
        other.set_vocabulary(other_words(case))
        assert len(other.vocabulary) == 2 and len(model.vocabulary) == count_of(case)


@every_segmentor
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_labels(case):
    exact = decide(case, encoding_of(case), SIZE, keep_scores=True)
    with half():
        rough = decide(case, encode(case, pictures(SIZE))[0], SIZE)
    # Where it chose another class, that one was hardly less probable.
    lost = exact.scores.amax(0) - exact.scores.gather(0, rough.labels[None])[0]
    assert (exact.labels == rough.labels).float().mean() > 0.8
    assert lost.mean() < 0.05


@every_segmentor
def test_callers_with_and_without_gradients_get_the_same_labels(case):
    images = pictures(SIZE)
    labels = []
    for mode in (torch.inference_mode(), torch.no_grad(), torch.enable_grad()):
        with mode:
            labels.append(predicted(case, images, SIZE))
    with torch.enable_grad():
        encodings = model_of(case).encode(images)
        labels.append(model_of(case).segment(encodings[0], SIZE).labels[None])
    for other in labels[1:]:
        assert_nearly_equal(other, labels[0], 1e-3)


@every_segmentor
def test_what_a_model_reads_is_what_it_cannot_do_without(case):
    model, images = model_of(case), pictures(SIZE)
    assert model.reads <= {'originals', 'names', 'paths'}
    bare = [SegDataSample(metainfo={'ori_shape': SIZE})]
    if model.reads - {'paths'}:
        with pytest.raises(UserError, match='also reads images at their own size'):
            model.predict(images.inputs, bare)
    else:
        (sample,) = model.predict(images.inputs, bare)
        assert torch.equal(sample.pred_sem_seg.data, predicted(case, images, SIZE))
        (sample,) = model.predict(images.inputs)
        assert torch.equal(sample.pred_sem_seg.data, predicted(case, images, SIZE))


@every_segmentor
def test_segments_are_found_by_models_that_say_so(case):
    model = model_of(case)
    if not model.finds_segments:
        with pytest.raises(UserError, match='labels pixels and proposes no masks'):
            model.find_segments(encoding_of(case), SIZE)
        return
    segments = model.find_segments(encoding_of(case), SIZE, budget=TINY)
    assert segments.ids.shape == SIZE
    again = model.find_segments(encoding_of(case), SIZE, budget=LARGE)
    assert torch.equal(segments.ids, again.ids)


@every_segmentor
def test_frozen_parts_are_not_saved_and_the_rest_loads_strictly(case):
    model = model_of(case)
    state = model.state_dict()
    assert not [name for name in state if name.startswith(model.frozen_prefixes or ('?',))]
    everything = {name for name, _ in model.named_parameters()}
    frozen = {name for name in everything if name.startswith(model.frozen_prefixes or ('?',))}
    assert everything - frozen <= set(state)
    for prefix in frozen:
        assert not dict(model.named_parameters())[prefix].requires_grad


@every_segmentor
def test_what_is_asked_before_a_model_is_built_leaves_its_config_alone(case):
    kind = MODELS.get(CASES[case][0])
    config = config_of(case)
    needs = kind.needs_checkpoint(config)
    assert needs == any(parameter.requires_grad for parameter in model_of(case).parameters())
    assert config.keys() == config_of(case).keys()


@every_segmentor
def test_a_randomised_config_builds_without_any_file(case):
    kind, config = MODELS.get(CASES[case][0]), config_of(case)
    for part in ('clip', 'sam', 'companion'):
        if isinstance(config.get(part), dict):
            config[part]['pretrained'] = 'a_file_that_is_nowhere.pth'
    kind.randomise(config)
    assert MODELS.build(config).vocabulary.names == model_of(case).vocabulary.names


@every_segmentor
def test_scores_at_the_input_size_are_mmsegs(case):
    images, model = pictures(SIZE, 2), model_of(case)
    if model.reads:
        images = Images(images.inputs)
        try:
            encodings = model.encode(images)
        except UserError:
            return
    with torch.no_grad():
        encodings = model.encode(images)
        scores = model.encode_decode(images.inputs, [])
    assert scores.shape == (2, count_of(case), *SIZE)
    with torch.no_grad():
        whole = model.scores(encodings[1], model.classifier, SIZE).rows(0, SIZE[0])
    wanted = model.rule(model.classifier).groups.class_scores(whole[None])[0]
    assert torch.allclose(scores[1], wanted, atol=1e-3)
