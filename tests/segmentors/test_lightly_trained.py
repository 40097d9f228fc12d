"""Light trainings on frozen features: through the Runner, and what serves afterwards."""

from __future__ import annotations

import math

import pytest
import torch
from short_trainings import train
from tiny_segmentors import CLIP, PREPROCESSOR, TEXT, pictures

from ovseg.config_files import read_config
from ovseg.engine import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.segmentors import LightlyTrained, TrainingFreeSegmentor
from ovseg.training.learners.files import write_adapter, write_contexts

CLASSES = 17


@pytest.fixture(scope='module')
def features(tmp_path_factory):
    """Where features are kept: one folder for all trainings, which makes them once."""
    return tmp_path_factory.mktemp('features')


def config_of(kind, folder, features, epochs=2, **learner):
    config = read_config(f'{kind}_tiny_scenes')
    config.model.learner.update(learner)
    config.work_dir = str(folder)
    config.train_dataloader.dataset.num_scenes = 3
    config.train_dataloader.batch_size = 2
    config.train_cfg.update(max_epochs=epochs, folder=str(features))
    config.param_scheduler[0].update(T_max=4, end=4)
    config.default_hooks.checkpoint.interval = 1
    return config


def state_of(runner):
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


@pytest.mark.parametrize('kind', ['rows', 'contexts', 'sentences'])
def test_a_resumed_training_equals_one_without_a_break(kind, tmp_path, features):
    whole = train(config_of(kind, tmp_path / 'whole', features), f'{kind} whole')
    assert all(not key.startswith(('clip.', 'encoder.')) for key in state_of(whole))
    train(config_of(kind, tmp_path / 'parts', features, epochs=1), f'{kind} first')
    config = config_of(kind, tmp_path / 'parts', features)
    resumed = train(config, f'{kind} second', resume=True)
    wanted, found = state_of(whole), state_of(resumed)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_rows_that_are_held_for_ever_are_zero_shot_and_others_learn(tmp_path, features):
    held = train(config_of('rows', tmp_path / 'a', features, hold=math.inf), 'held').model
    free = train(config_of('rows', tmp_path / 'b', features, hold=0.0), 'free').model
    start = held.learner.teachings.zero_shot(held.learned_for)
    assert torch.equal(held.classifier.weight, start.weight) and not held.classifier.bias.any()
    moved = (free.classifier.weight != start.weight).any(dim=1)
    names = held.learned_for.names
    unseen = ['sand', 'brick wall', 'donut', 'flower', 'mushroom', 'kite']
    assert not any(moved[names.index(name)] for name in unseen)
    assert 3 <= int(moved.sum()) <= CLASSES - len(unseen)


def test_features_are_made_once_for_all_trainings_of_an_encoder(tmp_path, features):
    train(config_of('features', tmp_path / 'a', features, epochs=1), 'first')
    (folder,) = features.iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(before) == 3
    train(config_of('class_contexts', tmp_path / 'b', features, epochs=1), 'second')
    assert before == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    other = config_of('rows', tmp_path / 'c', features, epochs=1)
    other.model.encoder.last_block = 'vv-all'
    train(other, 'third')
    assert len(list(features.iterdir())) == 2


def test_random_steps_are_refused(tmp_path, features):
    config = config_of('rows', tmp_path, features)
    config.train_dataloader.dataset.pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    with pytest.raises(UserError, match='RandomFlip of train_dataloader'):
        train(config, 'random')


def build(vocabulary='cat; sofa', **learner):
    torch.manual_seed(0)
    settings = {'clip': CLIP, 'text': TEXT, 'data_preprocessor': PREPROCESSOR}
    return LightlyTrained(learner=learner, vocabulary=vocabulary, **settings).eval()


def test_shared_contexts_and_adapters_take_new_words_and_others_refuse_them():
    for learner in ({'kind': 'contexts'}, {'kind': 'features'}, {'kind': 'sentences'}):
        model = build(**learner)
        model.set_vocabulary('dog, puppy; sofa; a red mug')
        assert model.classifier.num_classes == 3
    for learner in ({'kind': 'contexts', 'per_class': True}, {'kind': 'rows'}):
        model = build(**learner)
        with pytest.raises(UserError, match=r"learned 2 classes \(cat; sofa\).*asked for 'dog'"):
            model.set_vocabulary('cat; dog')
        rows = model.classifier.weight
        model.set_vocabulary('sofa; cat')
        assert torch.allclose(model.classifier.weight, rows.flip(0), atol=1e-6)
        model.set_vocabulary('sofa')
        assert torch.allclose(model.classifier.weight, rows[1:], atol=1e-6)


def test_checkpoints_of_other_classes_are_refused(tmp_path):
    torch.save(build('cat; sofa', kind='rows').state_dict(), tmp_path / 'two.pth')
    load_checkpoint_strict(build('cat; sofa', kind='rows'), tmp_path / 'two.pth')
    with pytest.raises(
        UserError, match=r'trained for 2 classes \(cat; sofa\).*asks for 2 \(cat; d'
    ):
        load_checkpoint_strict(build('cat; dog', kind='rows'), tmp_path / 'two.pth')


@pytest.mark.parametrize('kind', ['contexts', 'features'])
def test_files_of_the_originals_serve(kind, tmp_path):
    model, file = build(kind=kind, **({'count': 2} if kind == 'contexts' else {})), tmp_path / 'x'
    before = [model.segment(one, (8, 8), keep_scores=True).scores for one in encodings(model)]
    if kind == 'contexts':
        contexts = torch.randn_like(model.learner.ctx)
        write_contexts(file, contexts, torch.zeros(2, 77, contexts.shape[1]), 50)
    else:
        state = {key: torch.randn_like(v) for key, v in model.learner.adapter.state_dict().items()}
        write_adapter(file, state, 50)
    load_checkpoint_strict(model, file)
    after = [model.segment(one, (8, 8), keep_scores=True).scores for one in encodings(model)]
    assert not torch.allclose(before[0], after[0])


def encodings(model):
    with torch.no_grad():
        return model.encode(pictures((32, 32)))


def test_a_share_of_nothing_is_the_frozen_model():
    model = build(kind='features', share=0.0)
    torch.manual_seed(0)
    settings = {'clip': CLIP, 'text': TEXT, 'data_preprocessor': PREPROCESSOR}
    frozen = TrainingFreeSegmentor(vocabulary='cat; sofa', **settings).eval()
    ours, theirs = (
        one.segment(encodings(one)[0], (8, 8), keep_scores=True) for one in (model, frozen)
    )
    assert torch.equal(ours.scores, theirs.scores)


def test_contexts_are_learned_although_a_known_text_tower_waits_in_its_file(tmp_path):
    torch.manual_seed(0)
    made = build(kind='rows')
    torch.save(made.clip.state_dict(), tmp_path / 'clip.pt')
    clip = {'model': CLIP['model'], 'pretrained': str(tmp_path / 'clip.pt')}
    settings = {'text': {**TEXT, 'cache_dir': str(tmp_path)}, 'data_preprocessor': PREPROCESSOR}
    kinds = ('rows', 'contexts')
    for kind in (*kinds, *kinds):  # once known, the text tower is not read with the file
        LightlyTrained(clip=clip, learner={'kind': kind}, vocabulary='cat; sofa', **settings)


def test_learners_that_do_not_exist_are_told():
    with pytest.raises(UserError, match="learner.kind must be one of .*got 'context'.*contexts"):
        build(kind='context')
    with pytest.raises(UserError, match='model.learner: .*depth'):
        build(kind='rows', depth=3)
    with pytest.raises(UserError, match='FrozenFeatureLoop'):
        build(kind='rows').loss(torch.zeros(1, 3, 32, 32), [])
    with pytest.raises(UserError, match='set model.vocabulary'):
        build(vocabulary=None, kind='rows')
