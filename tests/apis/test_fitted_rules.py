"""A fitted rejection rule is told or refused where its limits mean something else."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from ovseg import OpenVocabSegmenter
from ovseg.apis.building import build_model
from ovseg.apis.calibration import calibrate
from ovseg.config_files import read_config
from ovseg.errors import Notice, UserError, notices_heard
from ovseg.images import Images
from ovseg.scenes import ScenesDataset
from ovseg.segmentors.fitted_rules import score_facts
from ovseg.vocabulary import Rejection, Vocabulary

ASKED = ['sky', 'grass', 'sand', 'water']


def segmenter(model='maskclip-tiny', **settings):
    settings = {'device': 'cpu', 'precision': 'float32', **settings}
    return OpenVocabSegmenter(model, **settings)


@pytest.fixture(scope='module')
def pair():
    classes = ScenesDataset.METAINFO['classes']
    table = np.array([ASKED.index(name) if name in ASKED else len(ASKED) for name in classes])
    steps = [{'type': 'LoadScene'}, {'type': 'LoadSceneLabels'}]
    sample = ScenesDataset(split='train', num_scenes=1, pipeline=steps)[0]
    return np.ascontiguousarray(sample['img'][..., ::-1]), table[sample['gt_seg_map']]


@pytest.fixture(scope='module')
def found(pair):
    return calibrate(segmenter(), [pair], ASKED, 'margin', keep=0.9)


@pytest.fixture
def rule(found, tmp_path):
    return str(found.save(tmp_path / 'rule.json'))


def heard_of(rule, words=ASKED, model='maskclip-tiny', **settings):
    with notices_heard() as heard:
        segmenter(model, rejection=rule, **settings).question(words)
    return [line for line in heard if 'rejection rule' in line]


def test_a_rule_says_what_it_was_fitted_on(found, rule):
    fitted = Rejection.build(rule).fitted
    assert fitted == found.rejection.fitted and fitted.names == tuple(ASKED)
    scores = dict(fitted.scores)
    assert {'model', 'weights', 'method', 'templates', 'mode', 'rule'} <= set(scores)
    assert scores['rule'] == 'words' and 'examples' not in scores


def test_the_same_question_is_heard_of_in_silence_in_any_order_and_precision(rule):
    assert heard_of(rule, ['Water', 'sand', 'grass', 'sky']) == []
    assert heard_of(rule, precision='bfloat16') == []


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['sky', 'grass', 'sand', 'ball'], r'here also ball, here without water'),
        (['sky', 'grass'], r'\(here without sand, water\)'),
        ([*ASKED, 'star', 'kite', 'fish', 'heart'], r'\(here also star, kite, fish, \.\.\.\)'),
    ],
)
def test_other_classes_are_told_by_name(rule, words, said):
    with pytest.warns(Notice, match=f'fitted for other classes .*{said}.*something else here'):
        segmenter(rejection=rule).question(words)


def test_other_templates_are_told(rule):
    with pytest.warns(Notice, match="with templates '.*', and here it is 'single'"):
        segmenter(rejection=rule, templates='single').question(ASKED)


@pytest.mark.parametrize(
    ('model', 'settings', 'said'),
    [
        ('clip-dinoiser-tiny', {}, 'with guide .*with weights'),
        ('maskclip-tiny-siglip', {}, 'with model .*of another scale'),
        ('maskclip-tiny', {'text': {'logit_scale': 40}}, 'scale .* and here it is 40'),
        ('maskclip-tiny', {'text': {'combine': 'max'}}, "with synonyms .*'max'"),
    ],
)
def test_another_model_or_scale_is_refused(rule, model, settings, said):
    with pytest.raises(UserError, match=f'fitted .*{said}.*fit it again with ovseg calibrate'):
        segmenter(model, rejection=rule, **settings).question(ASKED)


def test_other_weights_of_the_same_model_are_refused(rule):
    segment = segmenter(rejection=rule)
    segment.question(ASKED)
    with torch.no_grad():
        segment.model.clip.visual.ln_pre.weight.mul_(1.01)
    with pytest.raises(UserError, match='with weights .*, and here it is'):
        segment.question(ASKED)


def test_a_rule_of_examples_is_another_scale_and_other_examples_are_told(rule, pair):
    image, labels = pair
    segment = segmenter()
    segment.teach('water', image, labels == ASKED.index('water'))
    segment.model.taught.rule = 'gda'
    fitted = calibrate(segment, [pair], ASKED, 'energy', keep=0.9).rejection
    assert dict(fitted.fitted.scores)['rule'] == 'gda'
    vocabulary = Vocabulary.parse(ASKED, fitted)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        segment.question(vocabulary)
    with pytest.raises(UserError, match="with rule 'words', and here it is 'gda'"):
        segment.question(Vocabulary.parse(ASKED, Rejection.build(rule)))
    segment.teach('sky', image, labels == ASKED.index('sky'))
    with pytest.warns(Notice, match='with examples .*, and here it is'):
        segment.question(vocabulary)
    segment.model.taught.rule = 'proto'
    with pytest.raises(UserError, match="with rule 'gda', and here it is 'proto'"):
        segment.question(vocabulary)


def test_mmsegs_door_looks_too(found):
    config = read_config('maskclip_tiny.py', 'scenes')
    config.model.vocabulary = {'classes': ASKED, 'rejection': found.rejection.to_dict()}
    image = Images(torch.zeros(1, 3, 64, 64))
    model = build_model(config).eval()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter('error')
        model.segment(model.encode(image)[0], (64, 64))
    config.model.text.logit_scale = 40
    model = build_model(config).eval()
    with torch.inference_mode(), pytest.raises(UserError, match='and here it is 40'):
        model.segment(model.encode(image)[0], (64, 64))


def test_files_of_before_load_with_one_sentence(rule, tmp_path):
    content = json.loads((tmp_path / 'rule.json').read_text())
    content['format'] = 'ovseg-rejection/1'
    for name in ('names', 'scores'):
        del content['rejection']['fitted'][name]
    (tmp_path / 'rule.json').write_text(json.dumps(content))
    (said,) = heard_of(rule)[:1] or ['']
    with notices_heard() as heard:
        fitted = Rejection.build(rule).fitted
    assert len(heard) == 1 and 'does not say of whose scores its limits are' in heard[0]
    assert "with the model 'maskclip-tiny'" in heard[0] and said == ''
    assert fitted.names == tuple(ASKED) and fitted.scores == ()
    with notices_heard(), pytest.raises(UserError, match='here it is 40'):
        segmenter(rejection=rule, text={'logit_scale': 40}).question(ASKED)
    with pytest.warns(Notice, match=r'here also ball'):
        segmenter(rejection=rule).question([*ASKED, 'ball'])
    hand = {'kind': 'margin', 'margin': 0.1}
    (tmp_path / 'rule.json').write_text(json.dumps(hand))
    assert heard_of(rule) == []  # nobody fitted it


def test_facts_are_of_files_and_not_of_places(tmp_path):
    facts = []
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / 'templates.txt'
        path.write_text('a drawing of a {}.\n')
        segment = segmenter(templates=path)
        facts.append(score_facts(segment.model, segment.question(ASKED)[1]))
    assert facts[0] == facts[1] and facts[0]['templates'].startswith('templates.txt [')
    path.write_text('a photo of a {}.\n')
    segment = segmenter(templates=path)
    assert (
        score_facts(segment.model, segment.question(ASKED)[1])['templates'] != facts[0]['templates']
    )
