"""SAM 3 as a segmentor: which phrases are asked, what is remembered, how it is decided."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from counted_phrases import count_phrases
from PIL import Image
from tiny_clip_models import VIT
from tiny_sam3_segmentors import encoded, tiny_sam3_segmentor
from tiny_segmentors import pictures

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError, notices_heard
from ovseg.scores.concept_rule import ConceptDecision, ConceptRule
from ovseg.scores.phrase_maps import Fusion
from ovseg.scores.preselection import KeepRule, recall_at, recall_curve, threshold_for
from ovseg.segmentors.sam3_bank import class_prompt, prompt_weights, read_supports, save_bank
from ovseg.segmentors.sam3_rules import RULES, settings_of
from ovseg.text.row_groups import RowGroups
from ovseg.vocabulary import Rejection

pytest.importorskip('transformers', minversion='5.12')
SIZE = (50, 71)
LARGE = MemoryBudget(1e4)
DENSE = {
    'type': 'TrainingFreeSegmentor',
    'clip': {'model': VIT, 'pretrained': 'random'},
    'encoder': {'last_block': 'maskclip'},
    'text': {'templates': 'single', 'cache_dir': None},
}


@pytest.fixture(scope='module')
def model():
    return tiny_sam3_segmentor(fusion={'confidence': 0.1})


@pytest.fixture(scope='module')
def encoding(model):
    return encode(model)


def encode(model):
    return encoded(model, SIZE)


@pytest.fixture
def asked(monkeypatch):
    """Numbers of phrases in each pass through the network."""
    return count_phrases(monkeypatch)


def test_an_image_is_asked_once_and_a_new_word_costs_one_phrase(model, asked):
    encoding = encode(model)
    first = model.segment(encoding, SIZE).labels
    assert sum(asked) == 5
    again = model.build_classifier(model.vocabulary.with_rejection(Rejection('threshold', 0.9)))
    model.segment(encoding, (20, 30), again)
    assert sum(asked) == 5
    assert torch.equal(model.segment(encoding, SIZE).labels, first)
    words = tiny_sam3_segmentor(vocabulary='sky; dog; wall').vocabulary
    model.segment(encoding, SIZE, model.build_classifier(words))
    assert sum(asked) == 6


def test_an_image_that_is_to_know_nothing_is_asked_again(model, asked):
    encoding = encode(model)
    first = model.segment(encoding, SIZE).labels
    assert torch.equal(model.segment(model.unasked(encoding), SIZE).labels, first)
    assert sum(asked) == 10
    model.segment(encoding, SIZE)
    assert sum(asked) == 10


def test_blocks_follow_the_budget_and_change_nothing(model, asked):
    whole = model.scores(encode(model), model.classifier, SIZE).whole(LARGE)
    assert asked == [5]
    block, model.block_budget = model.block_budget, MemoryBudget(1e-6)
    one_by_one = model.scores(encode(model), model.classifier, SIZE).whole(LARGE)
    model.block_budget = block
    assert asked == [5, 1, 1, 1, 1, 1]
    assert torch.allclose(one_by_one, whole, atol=1e-4)


def test_a_class_is_the_best_of_its_words_and_scores_stay_absolute(model, encoding):
    scores = model.scores(encoding, model.classifier, SIZE)
    rows = scores.whole(LARGE)
    decision = model.segment(encoding, SIZE, keep_scores=True)
    assert torch.allclose(decision.scores[0], rows[:2].amax(0), atol=1e-6)
    assert not torch.allclose(decision.scores.sum(0), torch.ones(SIZE), atol=0.1)
    # Above all that anything scores, everything is background.
    limit = float(decision.scores.max()) + 1e-3
    rejecting = model.vocabulary.with_rejection(Rejection('threshold', min(limit, 1.0)))
    found = model.segment(encoding, SIZE, model.build_classifier(rejecting))
    assert found.labels.unique().tolist() == [0]


def rule(threshold=0.3, measure='score', own=None, **changed):
    index = torch.arange(3)
    return ConceptRule(
        RowGroups(index, 3, torch.ones(3), 'max'),
        1.0,
        Rejection('class_zero', threshold, **changed),
        0,
        decision=ConceptDecision(measure),
        class_thresholds=None if own is None else torch.tensor(own),
    )


def test_thresholds_are_compared_as_the_rules_say():
    scores = torch.tensor([[[0.1, 0.1, 0.0]], [[0.5, 0.2, 0.5]], [[0.0, 0.1, 0.49]]])[None, :, 0]
    assert rule().decide(scores).tolist() == [[1, 0, 1]]
    # 0.5 sqrt(0.4) = 0.32 and 0.5 sqrt(0.01) = 0.05 against 0.3^1.25 = 0.22
    assert rule(measure='margin').decide(scores).tolist() == [[1, 0, 0]]
    assert rule(own=[0.0, 0.6, 0.0]).decide(scores).tolist() == [[0, 0, 0]]
    assert rule(0.0, margin=0.2).decide(scores).tolist() == [[1, 0, 0]]
    assert set(rule(margin=0.2).rejected_by(scores)) == {'threshold', 'margin'}


def test_every_rule_builds_and_labels(model, encoding):
    labels = {}
    for name in RULES:
        other = (
            tiny_sam3_segmentor(rule=name, context=False)
            if name == 'activesam'
            else tiny_sam3_segmentor(rule=name)
        )
        labels[name] = other.segment(encode(other), SIZE, keep_scores=True).scores
        assert other.protocol()['rule'] == name
    assert not torch.allclose(labels['semantic'], labels['semantic_presence'], atol=1e-3)
    assert not torch.allclose(labels['coco'], labels['conceptbank'], atol=1e-3)
    assert settings_of('activesam', {'preview': False}).keys() == {
        *('fusion', 'decision', 'canonical', 'context')
    }


def test_the_preview_asks_the_surest_phrases_alone(asked):
    small = tiny_sam3_segmentor(
        rule='activesam', context=False, preview={'size': 28, 'alpha': 0.4, 'at_most': 3}
    )
    encoding = encode(small)
    active = small.active(encoding, small.classifier)
    presence = small.preview_presence(encoding, small.classifier)
    assert len(active) == 2 and set(active.tolist()) == set(presence.topk(2).indices.tolist())
    rows = small.scores(encoding, small.classifier, SIZE).whole(LARGE)
    others = [row for row in range(5) if row not in active.tolist()]
    assert float(rows[others].abs().max()) == 0 and float(rows[active].amax((1, 2)).min()) > 0


def test_a_dense_model_says_what_is_asked_within_bounds():
    bounds = {'threshold': 2.0, 'at_least': 1, 'at_most': 2}
    settings = {'model': DENSE, 'side': 64, 'share': 0.1, 'always': 'Wall', **bounds}
    model = tiny_sam3_segmentor(budget='preselected', preselection=settings)
    encoding, classifier = encode(model), model.classifier
    looks = model._answers.of(encoding).looks
    scores = model.preselection.scores(looks, encoding.image, model.vocabulary)
    chosen = model.preselection.classes(looks, encoding.image, model.vocabulary)
    assert scores.shape == (4,) and chosen.tolist() == sorted({2, int(scores.argmax())})
    kept = [row for row, label in enumerate(classifier.class_index.tolist()) if label in chosen]
    assert model.active(encoding, classifier).tolist() == kept
    model.budget_name = 'full'
    assert len(model.active(encoding, classifier)) == 5
    model.budget_name = 'dense'
    shares = model.segment(encoding, SIZE, keep_scores=True).scores
    assert torch.allclose(shares.sum(0), torch.ones(SIZE), atol=1e-3)
    # Then SAM 3 does not look at all, until it is asked.
    unseen = encode(model)
    assert unseen.features is None and unseen.is_finite
    assert torch.equal(model.segment(unseen, SIZE, keep_scores=True).scores, shares)
    model.set_budget('full')
    full = [model.segment(each, SIZE, keep_scores=True).scores for each in (unseen, encoding)]
    assert torch.allclose(*full, atol=1e-4)


def test_recall_is_counted_against_what_is_asked():
    scores = [torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.2, 0.8, 0.3])]
    counts = [torch.tensor([90, 0, 10]), torch.tensor([0, 100, 0])]
    one, two, three = recall_curve(scores, counts, [1, 2, 3])
    assert (one.asked, one.classes, one.pixels) == pytest.approx((1 / 3, 2 / 3, 0.95))
    assert two.pixels == pytest.approx(0.95) and three.pixels == three.classes == 1
    assert threshold_for(scores, counts, 0.95) == pytest.approx(0.8)
    assert threshold_for(scores, counts, 1.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match='1 choices do not belong to 2 images'):
        recall_at([torch.tensor([0])], counts)


def test_things_come_one_by_one_and_stuff_as_a_whole(model, encoding):
    low = model.segment_settings.__class__(score_threshold=0.05, overlap_threshold=0.1)
    found = model.find_segments(encoding, SIZE, stuff={3}, settings=low)
    assert found.ids.shape == SIZE and found.segments
    assert sum(segment.label == 3 for segment in found.segments) <= 1
    assert all(segment.is_thing == (segment.label != 3) for segment in found.segments)
    things = model.find_instances(encoding, SIZE, stuff={3})
    assert len(things.labels) == len(things.masks) and 3 not in things.labels.tolist()


def test_a_bank_makes_one_prompt_of_several_phrases(model, tmp_path):
    for name in ('cat', 'sky'):
        (tmp_path / 'examples' / name).mkdir(parents=True)
        image = pictures((64, 64), seed=len(name)).originals[0]
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[10:40, 20:50] = 255
        Image.fromarray(image).save(tmp_path / 'examples' / name / 'a.jpg')
        Image.fromarray(mask).save(tmp_path / 'examples' / name / 'a.png')
    examples = read_supports(tmp_path / 'examples')
    assert set(examples) == {'cat', 'sky'}
    phrases = model.text.encode(['cat', 'a kitten'])
    prompt, weights = class_prompt(model.sam3, phrases, examples['cat'], model.image_size)
    assert float(weights.sum()) == pytest.approx(1) and prompt.tokens.shape[0] == 1
    file = tmp_path / 'bank.safetensors'
    save_bank({'cat': prompt}, file, model.text.space)
    banked = tiny_sam3_segmentor(bank=file)
    classifier = banked.classifier
    # One phrase a class with a prompt, whatever its words.
    assert classifier.phrases == ('cat', 'sofa', 'wall', 'sky')
    assert torch.allclose(classifier.bare.tokens[0], prompt.tokens[0])
    assert prompt_weights(torch.tensor([0.9, 0.1])).tolist() == [1, 0]


def test_words_and_settings_that_cannot_be_are_said(model):
    with pytest.raises(UserError, match="model.rule must be one of .* Did you mean 'segearth'"):
        tiny_sam3_segmentor(rule='segeart')
    with pytest.raises(UserError, match='needs a dense model: set model.preselection.model'):
        tiny_sam3_segmentor(budget='preselected')
    with pytest.raises(UserError, match='model.fusion has no setting'):
        tiny_sam3_segmentor(fusion={'confidance': 0.1})
    with pytest.raises(UserError, match='image_size: 30 is no multiple of the patch of 14'):
        tiny_sam3_segmentor(image_size=30)
    with pytest.raises(UserError, match='model.text.templates has no meaning for SAM 3'):
        tiny_sam3_segmentor(text={'templates': 'single'})
    with pytest.raises(UserError, match='scores are absolute and have no energy'):
        tiny_sam3_segmentor(
            vocabulary={'classes': ['cat'], 'rejection': {'kind': 'energy', 'energy': 0.1}}
        )
    with pytest.raises(UserError, match='at_least must be at least 1 and not above at_most'):
        KeepRule(at_least=3, at_most=2)
    with pytest.raises(UserError, match='leaves out both heads'):
        Fusion(instances=None, semantic=False)
    with notices_heard() as heard:
        model.build_classifier(model.vocabulary.parse([f'word {n}' for n in range(1001)]))
    assert 'SAM 3 is asked for each of 1001 phrases' in ' '.join(heard)
