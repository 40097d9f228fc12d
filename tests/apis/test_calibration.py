"""A limit fitted to labelled images does what it was fitted for, through every door."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from ovseg import OpenVocabSegmenter
from ovseg.apis.calibration import calibrate
from ovseg.cli.calibrate import main
from ovseg.cli.explain import main as explain
from ovseg.errors import UserError
from ovseg.scenes import ScenesDataset
from ovseg.vocabulary import Rejection, Vocabulary

ASKED = ('sky', 'grass', 'sand', 'water', 'brick wall', 'star', 'ball', 'fish', 'heart', 'kite')


def scenes(count):
    """Images and labels in the order of the words; the last number is none of these."""
    classes = ScenesDataset.METAINFO['classes']
    table = np.array([ASKED.index(name) if name in ASKED else len(ASKED) for name in classes])
    steps = [{'type': 'LoadScene'}, {'type': 'LoadSceneLabels'}]
    for sample in ScenesDataset(split='train', num_scenes=count, pipeline=steps):
        yield np.ascontiguousarray(sample['img'][..., ::-1]), table[sample['gt_seg_map']]


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')


@pytest.fixture(scope='module')
def pairs():
    return list(scenes(3))


@pytest.mark.parametrize('rule', ['threshold', 'margin', 'energy'])
def test_a_limit_keeps_what_it_promises(segment, pairs, rule):
    found = calibrate(segment, pairs, '; '.join(ASKED), rule, keep=0.9)
    assert found.rejection.kind == rule and found.rejection.fitted.images == 3
    vocabulary = Vocabulary.parse(list(ASKED), found.rejection)
    plain = [segment(image, '; '.join(ASKED)) for image, _ in pairs]
    kept = [segment(image, vocabulary) for image, _ in pairs]
    right, left = 0, 0
    for (_, labels), before, after in zip(pairs, plain, kept, strict=True):
        is_right = before.labels == labels
        right += is_right.sum()
        left += (after.labels[is_right] != 0).sum()
    assert left / right == pytest.approx(0.9, abs=0.01)


def test_a_limit_on_what_words_for_none_are_behind(segment, pairs):
    background = ['snow', 'wooden floor']
    settings = {'background': background, 'keep': 0.9}
    found = calibrate(segment, pairs, list(ASKED), 'contrast_margin', **settings)
    rule = found.rejection
    assert rule.kind == 'background' and rule.words == tuple(background)
    assert 0 < rule.contrast_margin < 1 and 'ahead of the words for none' in rule.describe()
    plain = [segment(image, list(ASKED), background=background).labels for image, _ in pairs]
    kept = [segment(image, Vocabulary.parse(list(ASKED), rule)).labels for image, _ in pairs]
    right = [
        (before == labels + 1) & (labels < len(ASKED))
        for before, (_, labels) in zip(plain, pairs, strict=True)
    ]
    left = sum((after[own] != 0).sum() for after, own in zip(kept, right, strict=True))
    assert left / sum(own.sum() for own in right) == pytest.approx(0.9, abs=0.01)
    with pytest.raises(UserError, match='there are none: add contrast words'):
        calibrate(segment, pairs[:1], list(ASKED), 'contrast_margin')


def test_a_rule_may_ask_for_contrast_words(pairs):
    answers = [
        OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32', **settings)(
            pairs[0][0], list(ASKED)
        )
        for settings in (
            {'contrast': 'auto'},
            {'rejection': 'contrast=auto'},
            {'rejection': {'kind': 'contrast', 'contrast': 'auto', 'contrast_margin': 0.9}},
        )
    ]
    assert np.array_equal(answers[0].labels, answers[1].labels)
    assert answers[0].contrast == answers[1].contrast != ()
    assert (answers[2].labels == 0).sum() > (answers[1].labels == 0).sum()


def test_without_a_share_the_limit_tells_none_of_these(segment, pairs):
    found = calibrate(segment, pairs, list(ASKED))
    assert 0.5 < found.auroc <= 1 and 0 <= found.false_alarms <= 1
    assert sum(found.pixels) == sum(labels.size for _, labels in pairs)
    risks = [point['risk'] for point in found.curve]
    assert risks[0] < risks[-1] and found.curve[-1]['coverage'] == 1
    words = calibrate(segment, pairs, list(ASKED), background='snow, wooden floor')
    assert words.rejection.kind == 'background' and words.auroc > found.auroc


def test_bad_labels_are_sentences(segment, pairs):
    image, labels = pairs[0]
    for bad, message in (
        ([(image, labels[1:])], r'the labels of image 1 are \(191, 192\) pixels'),
        ([], 'no labelled image'),
        ([(image, np.full_like(labels, 255))], 'no pixel of an asked class is right'),
        ([(image, labels - 1)], '10 for none of these, 255 where nobody knows'),
        ([(image, labels / 2)], 'labels must be whole numbers from 0 on'),
    ):
        with pytest.raises(UserError, match=message):
            calibrate(segment, bad, list(ASKED))
    with pytest.raises(UserError, match='keep must be a share'):
        calibrate(segment, pairs, list(ASKED), keep=1.5)


def test_the_command_writes_what_rejection_reads(pairs, tmp_path, capsys):
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for number, (image, labels) in enumerate(pairs[:2]):
        Image.fromarray(image).save(tmp_path / 'images' / f'{number}.png')
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / 'labels' / f'{number}.png')
    rule, words = str(tmp_path / 'rule.json'), '; '.join(ASKED)
    folders = [str(tmp_path / name) for name in ('images', 'labels')]
    options = ['--rule', 'margin', '--out', rule, '--device', 'cpu']
    assert main([*folders, words, *options], 'ovseg calibrate') == 0
    told = capsys.readouterr().out
    assert 'best class ahead by less than' in told
    written = json.loads((tmp_path / 'rule.json').read_text())
    (typed,) = re.findall(r'--rejection "(.*)"', told)
    assert Rejection.build(typed).margin == written['rejection']['margin']
    table = re.findall(r'^ *(\d\S*) +\d\.\d{3} +\d\.\d{3} ', told, re.MULTILINE)
    assert {float(limit) for limit in table} == {p['limit'] for p in written['curve'][4::5]}
    fitted = written['rejection']['fitted']
    assert (fitted['classes'], fitted['images']) == (10, 2) and fitted['scale'] > 1
    image = str(tmp_path / 'images' / '0.png')
    assert explain([image, words, '--at', '5', '5', '--rejection', rule, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['row'] == 5
    assert main(['scenes', '2', words, *options, '--json'], 'ovseg calibrate') == 0
    assert json.loads(capsys.readouterr().out)['format'] == 'ovseg-rejection/2'
    with pytest.raises(UserError, match='followed by how many'):
        main(['scenes', 'many', words, *options])
    with pytest.raises(UserError, match='none of cat, dog is in Scenes'):
        main(['scenes', '2', 'cat; dog', *options])
