"""Suites that show examples, and classes asked alone: what they draw, ask, count and refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from few_windows import few_windows

from ovseg import OpenVocabSegmenter
from ovseg.cli.test import main
from ovseg.errors import UserError
from ovseg.evaluation.areas import Areas, confusion_matrix, summarise
from ovseg.evaluation.suites import (
    SUITES,
    EncodedSample,
    SuiteSettings,
    SuiteWords,
    SupportPool,
    write_report,
)
from ovseg.evaluation.suites.fewshot import seeds
from ovseg.scenes import ScenesDataset
from ovseg.vocabulary import Vocabulary

CLASSES = ScenesDataset.METAINFO['classes']


class Drawn:
    """A data set of label maps, of which nothing but the labels is read."""

    def __init__(self, *maps):
        self.maps = [torch.tensor(labels) for labels in maps]

    def __len__(self):
        return len(self.maps)

    def __getitem__(self, index):
        sample = type('Sample', (dict,), {})({'gt_sem_seg': 1})
        sample.gt_sem_seg = type('Data', (), {'data': self.maps[index][None]})()
        return {'data_samples': sample}


def test_an_image_counts_for_all_its_classes_and_the_draw_is_seeded():
    maps = [[[0, 1]], [[0, 255]], [[1, 2]], [[2, 2]], [[0, 1]]]
    pool = SupportPool(Drawn(*maps))
    for seed in range(6):
        chosen = pool.draw([0, 1, 2], 2, seed)
        counts = [sum(label in pool.shows(number) for number in chosen) for label in range(3)]
        assert (
            min(counts) >= 2
            and len(chosen) == len(set(chosen))
            and chosen == pool.draw([0, 1, 2], 2, seed)
        )
    assert pool.shows(1) == {0}
    assert set(pool.showing(0, 9, (1,), without=[4])) == {0, 1}
    assert len({tuple(pool.draw([0, 1, 2], 1, seed)) for seed in range(20)}) > 1
    assert SupportPool(Drawn(*maps), numbers=[2, 3]).draw([0, 2], 5, 0) in ([2, 3], [3, 2])
    assert len(set(seeds(12, 3))) == 12 and seeds(4, 0) == (100, 18, 42, 84)


@pytest.fixture(scope='module')
def segment():
    return few_windows(OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32'))


@pytest.fixture(scope='module')
def pool():
    return SupportPool(ScenesDataset(split='train', num_scenes=12, size=(96, 96)))


@pytest.fixture(scope='module')
def tested():
    return SupportPool(ScenesDataset(split='val', num_scenes=2, size=(96, 96)))


@pytest.fixture(scope='module')
def samples(segment):
    steps = [{'type': 'LoadScene'}, {'type': 'LoadSceneLabels'}]
    dataset = ScenesDataset(split='val', num_scenes=2, size=(96, 96), pipeline=steps)
    found = []
    for index, sample in enumerate(dataset):
        image = np.ascontiguousarray(sample['img'][..., ::-1])
        labels = torch.from_numpy(sample['gt_seg_map']).long()
        found.append(EncodedSample(segment.encode(image).encoding, labels, index < 1, 0.5, index))
    return found


def run(name, segment, samples, **settings):
    further = SuiteWords.of_dataset('ScenesDataset', CLASSES)
    vocabulary = Vocabulary.parse(list(CLASSES))
    suite = SUITES[name](segment.model, vocabulary, SuiteSettings(further, **settings))
    for sample in samples:
        suite.add(sample)
    return suite, suite.result()


def matrix_of(segment, samples, classifier):
    found = [segment.model.segment(each.encoding, each.size, classifier) for each in samples]
    return sum(
        confusion_matrix(one.labels, each.labels, len(CLASSES))
        for one, each in zip(found, samples, strict=True)
    )


def test_few_shot_scores_are_those_of_what_a_user_teaches(segment, samples, pool, tmp_path):
    settings = {'rules': ('proto', 'gda'), 'shots': (1,), 'rounds': 1}
    suite, found = run('fewshot', segment, samples, pool=pool, **settings)
    rows = {(row['rule'], row['support']): row for row in found['rows']}
    assert list(rows) == [
        *(('words', part) for part in ('all', 'half')),
        *((rule, part) for part in ('all', 'half') for rule in ('proto', 'gda')),
        *((rule, 'all, half without words') for rule in ('proto', 'gda')),
    ]
    # The same by the public door: the words, and the bank of the half.
    vocabulary = Vocabulary.parse(list(CLASSES))
    words = summarise(Areas.of_matrix(matrix_of(segment, samples, segment.question(vocabulary)[1])))
    assert rows['words', 'all']['mIoU'] == pytest.approx(words['mIoU_present'])
    (trial,) = (t for t in suite.trials if (t.rule, t.support) == ('gda', 'half'))
    half = trial.apart.nonzero()[:, 0].tolist()
    assert len(half) == 9
    segment.model.taught.rule = 'gda'
    segment.model.taught.bank = pool.bank(
        segment.model, pool.draw(half, 1, found['seeds'][0]), half, CLASSES
    )
    try:
        areas = Areas.of_matrix(matrix_of(segment, samples, segment.question(vocabulary)[1]))
        with pytest.raises(UserError, match='draws its own examples'):
            run('fewshot', segment, [], pool=pool)
    finally:
        segment.model.taught.bank = None
        segment.model.taught.rule = 'proto'
    shown = areas.label > 0
    for name, chosen in (('mIoU_apart', trial.apart), ('mIoU_others', ~trial.apart)):
        wanted = float(100 * areas.iou[shown & chosen].mean())
        assert rows['gda', 'half'][name] == pytest.approx(wanted)
    content = {'suite': 'fewshot', 'protocol': {}, 'result': found}
    for path in write_report(tmp_path, content):
        assert path.stat().st_size > 200
    assert json.loads((tmp_path / 'suite_fewshot.json').read_text()) == content


def test_names_that_count_as_meaning_nothing_are_not_read(segment, samples, pool):
    suite, _ = run('fewshot', segment, [], pool=pool, rules=('proto',), shots=(1,), rounds=1)
    with_words, without = (
        next(t for t in suite.trials if (t.rule, t.support) == ('proto', support))
        for support in ('all', 'all, half without words')
    )
    bank = pool.bank(segment.model, pool.draw(range(17), 1, 100), range(17), CLASSES, [3])
    assert [name for name, has in zip(bank.names, bank.has_words, strict=True) if not has] == [
        CLASSES[3]
    ]
    assert not torch.allclose(with_words.classifier.weight, without.classifier.weight)


def test_an_episode_asks_for_one_class_of_its_query(segment, samples, pool, tested, tmp_path):
    settings = {'rules': ('proto',), 'shots': (1,), 'rounds': 1, 'episodes': 1}
    suite, found = run('episodes', segment, samples, pool=pool, tested=tested, **settings)
    shown = set().union(*(tested.shows(index) for index in range(2)))
    assert found['without_images'] == sorted(set(CLASSES) - {CLASSES[label] for label in shown})
    assert sum(found['episodes'][0]) + found['without_examples'] == len(shown)
    words, proto = found['rows']
    # Words: of each class in the image that its one episode asks about.
    ious, fore, back = {}, [], []
    classifier = segment.question(Vocabulary.parse(list(CLASSES)))[1]
    labels = [segment.model.segment(s.encoding, s.size, classifier).labels for s in samples]
    for episode in (each for members in suite.episodes.values() for each in members):
        mine = labels[episode.query] == episode.label
        truth = samples[episode.query].labels == episode.label
        ious[episode.label] = float((mine & truth).sum() / (mine | truth).sum())
        fb = [float((a & b).sum() / (a | b).sum()) for a, b in ((mine, truth), (~mine, ~truth))]
        fore.append(fb[0])
        back.append(fb[1])
    assert words['mIoU'] == pytest.approx(100 * np.mean(list(ious.values())), abs=1e-3)
    assert words['FB_IoU'] == pytest.approx(50 * (np.mean(fore) + np.mean(back)), abs=1e-3)
    assert proto['images'] == 1 and proto['mIoU'] != words['mIoU']
    for path in write_report(tmp_path, {'suite': 'episodes', 'protocol': {}, 'result': found}):
        assert path.stat().st_size > 200


def test_other_novel_classes_of_a_fold_are_not_asked(segment, tested):
    names = ['background', *(f'thing {number}' for number in range(1, 21))]
    vocabulary = Vocabulary.parse(names, {'kind': 'class_zero'})
    settings = SuiteSettings(pool=tested, tested=tested, folds='pascal-5i', episodes=1)
    suite = SUITES['episodes'](segment.model, vocabulary, settings)
    words, _, own = suite._question(1, 7)
    gone = {f'thing {number}' for number in (6, 8, 9, 10)}
    assert set(words.names) == set(names) - gone and words.names[own] == 'thing 7'
    with pytest.raises(UserError, match='pascal-5i divides 20 classes'):
        run('episodes', segment, [], pool=tested, tested=tested, folds='pascal-5i')


def test_a_class_alone_is_scored_in_the_images_that_show_it(segment, samples, tmp_path):
    _, found = run('single', segment, samples[:1], other_words=lambda words: CLASSES)
    assert [row['contrast'] for row in found['rows']] == ['background', 'auto', 'background list']
    auto = found['rows'][1]
    shown = {CLASSES[label] for label in samples[0].labels.unique().tolist()}
    assert {name for name, value in auto['classes'].items() if value is not None} == shown
    name = sorted(shown)[0]
    rule = {'kind': 'background', 'words': ['background', *(c for c in CLASSES if c != name)]}
    classifier = segment.question(Vocabulary.parse([[name]], rule))[1]
    mine = segment.model.segment(samples[0].encoding, samples[0].size, classifier).labels == 1
    truth = samples[0].labels == CLASSES.index(name)
    wanted = 100 * float((mine & truth).sum() / (mine | truth).sum())
    assert auto['classes'][name] == pytest.approx(wanted, abs=0.5)
    for path in write_report(tmp_path, {'suite': 'single', 'protocol': {}, 'result': found}):
        assert path.stat().st_size > 100


def test_suites_of_examples_without_examples_are_sentences(segment, tested):
    with pytest.raises(UserError, match='set support in the config'):
        run('fewshot', segment, [])
    with pytest.raises(
        UserError, match='no image that examples are drawn from shows enough of sky'
    ):
        tested.bank(segment.model, [], [0], CLASSES)
    for options, message in (
        (['--suite', 'fewshot', '--shots', '0'], 'numbers of images from 1 on'),
        (['--suite', 'episodes', '--episodes', '0'], '--episodes must be at least 1'),
        (['--shots', '3', '--suite-seed', '2'], '--suite-seed, --shots: add --suite'),
    ):
        with pytest.raises(UserError, match=message):
            main(['maskclip-tiny', *options])


def test_the_command_draws_examples_by_its_config(tmp_path, capsys):
    short = ['test_dataloader.dataset.size=(64,64)', 'support.num_scenes=6']
    words = ['maskclip-tiny', '--suite', 'fewshot', '--rounds', '1', '--shots', '1']
    words += ['--rules', 'proto', '--suite-images', '2', '--work-dir', str(tmp_path)]
    assert main([*words, '--cfg-options', *short]) == 0
    assert '| half | 1 | proto |' in capsys.readouterr().out
    (written,) = tmp_path.glob('*/suite_fewshot.json')
    assert json.loads(written.read_text())['result']['pool'] == '6 images'
