"""FC-CLIP's options that no published weights have: GKC's training words, PMP's guided masks."""

from __future__ import annotations

import math
from unittest import mock

import pytest
import tiny_fcclip
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from short_trainings import train

from ovseg.config_files import read_config
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.text import Classifier
from ovseg.training.drawn_words import DrawnWords, target_embeddings
from ovseg.training.losses.relations import relation_distillation

KINDS = {'FCCLIP': {}, 'MAFTPlus': {'transfer': {'num_heads': 2}, 'teacher': True}}
GKC = {'drawn_words': {'synonym_probability': 0.1}}


def built(kind, head, **more):
    proposals = {'type': 'MaskedAttentionHead', **tiny_fcclip.HEAD, **head}
    return tiny_fcclip.build(kind, proposals=proposals, **KINDS[kind], **more)


def sample(*labels):
    masks = torch.zeros(len(labels), 64, 128)
    for number in range(len(labels)):
        masks[number, 8 * number : 8 * number + 24, 10:60] = 1
    found = SegDataSample()
    found.gt_instances = InstanceData(labels=torch.tensor(labels), masks=masks)
    return found


def wide_images(count):
    torch.manual_seed(1)
    return torch.randn(count, 3, 64, 128)


# GKC: relations ------------------------------------------------------------------------------


def by_hand(students, taught, rows, scale):
    """The loss in plain loops over numbers."""

    def unit(vector):
        length = math.sqrt(sum(v * v for v in vector))
        return [v / length for v in vector]

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    terms = []
    for own, clip, words in zip(students, taught, rows, strict=True):
        own, clip = [unit(v) for v in own.tolist()], [unit(v) for v in clip.tolist()]
        words = words.tolist()
        for i, student in enumerate(own):
            terms.append(sum((a - b) ** 2 for a, b in zip(student, clip[i], strict=True)))
            for j, teacher in enumerate(clip):
                near = scale**2 * dot(words[i], words[j])
                terms.append((near - dot(student, teacher)) ** 2)
    return sum(terms) / len(terms)


def test_relations_are_those_of_plain_loops():
    torch.manual_seed(0)
    parts = [[torch.randn(n, 5) for n in (3, 1, 2)] for _ in range(3)]
    found = relation_distillation(*parts, scale=0.7)
    assert float(found) == pytest.approx(by_hand(*parts, 0.7), rel=1e-5)


def test_relations_of_no_target_teach_nothing():
    none = torch.zeros(0, 5, requires_grad=True)
    loss = relation_distillation([none], [none.detach()], [none.detach()])
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize('kind', list(KINDS))
def test_every_layer_is_taught_the_relations_of_its_own_matching(kind):
    model = built(kind, {'relation_weight': 10.0}).train()
    head, images, samples = model.proposals, wide_images(2), [sample(0, 2), sample(3)]
    with torch.no_grad():
        head.relation_scale.fill_(0.8)
    pairs, assign = [], head.assigner.assign

    def noted(*args, **kwargs):
        found = assign(*args, **kwargs)
        queries = (found.gt_inds > 0).nonzero().flatten()
        pairs.append((queries, found.gt_inds[queries] - 1))
        return found

    with mock.patch.object(head.assigner, 'assign', noted):
        losses = model.loss(images, samples)
    with torch.no_grad():
        levels = model.levels_of(images)
        outputs = head.decode(head.pixel_maps(levels))
        dense = levels[-1]
        taught = [
            model.pyramid.embed_vectors(
                torch.stack([mean_under(own, mask) for mask in each.gt_instances.masks])
            )
            for own, each in zip(dense, samples, strict=True)
        ]
        rows = model.classifier.weight[model.classifier.groups.first_rows]
        for layer in range(3):
            own = head.embed(outputs, layer)
            matched = pairs[2 * layer : 2 * layer + 2]
            wanted = by_hand(
                [each[queries] for each, (queries, _) in zip(own, matched, strict=True)],
                [clip[found] for clip, (_, found) in zip(taught, matched, strict=True)],
                [
                    rows[each.gt_instances.labels[found]]
                    for each, (_, found) in zip(samples, matched, strict=True)
                ],
                0.8,
            )
            name = 'loss_relation' if layer == 2 else f'd{layer}.loss_relation'
            assert float(losses[name]) == pytest.approx(10 * wanted, rel=1e-3), name


def mean_under(dense, mask):
    """Mean of the places that are covered at least half as much as the most covered one."""
    height, width = dense.shape[1:]
    high, wide = mask.shape[0] // height, mask.shape[1] // width
    part = {
        (y, x): float(mask[high * y : high * (y + 1), wide * x : wide * (x + 1)].mean())
        for y in range(height)
        for x in range(width)
    }
    places = [place for place, share in part.items() if share >= max(part.values()) / 2]
    return torch.stack([dense[:, y, x] for y, x in places]).mean(0)


def test_a_small_target_is_embedded_from_the_place_that_it_is_in():
    model = built('FCCLIP', {})
    dense = torch.randn(1, model.pyramid.channels[-1], 2, 4)
    mask = torch.zeros(1, 64, 128)
    mask[0, 40:43, 70:74] = 1
    target = InstanceData(labels=torch.zeros(1), masks=mask)
    (found,) = target_embeddings(model.pyramid, dense, [target])
    torch.testing.assert_close(found, model.pyramid.embed_vectors(dense[:, :, 1, 2]))


# GKC: synonyms -------------------------------------------------------------------------------


ROWS = torch.eye(6)
THREE = Classifier(ROWS, torch.tensor([0, 0, 0, 1, 2, 2]), 3, 100.0, aggregation='max')


def target(*labels):
    masks = torch.ones(len(labels), 2, 2)
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), masks=masks)


def test_targets_are_called_by_synonyms_that_clip_finds_probable():
    draws = DrawnWords(synonym_probability=0.3)
    # At scale 1, cosines 0.8, 0.6, 0 give 0.43, 0.36 and 0.20: the third is never drawn.
    seen = torch.tensor([[0.8, 0.6, 0.0, 0, 0, 0]])
    drawn = set()
    for _ in range(40):
        asked, (called,) = draws.draw(THREE, [target(0)], [seen], 1.0)
        assert asked.num_classes == 3 and called.labels.tolist() == [0]
        assert torch.equal(asked.weight[1:], ROWS[[3, 4]])
        drawn.add(int(asked.weight[0].argmax()))
    assert drawn == {0, 1}


def test_a_second_synonym_of_a_class_is_a_class_of_its_own():
    seen = [torch.stack([ROWS[1], ROWS[2]]), ROWS[[1, 5]]]
    draws = DrawnWords(synonym_probability=0.9)
    asked, called = draws.draw(THREE, [target(0, 0), target(0, 2)], seen, 100.0)
    assert [each.labels.tolist() for each in called] == [[0, 3], [0, 2]]
    assert torch.equal(asked.weight, ROWS[[1, 3, 5, 2]])


def test_absent_classes_are_drawn_and_labels_follow():
    draws, given = DrawnWords(absent_classes=1), [target(2), target()]
    kept = set()
    for _ in range(30):
        asked, called = draws.draw(THREE, given, [ROWS[[4]], ROWS[:0]], 1.0)
        assert asked.num_classes == 2 and called[0].labels.tolist() == [1]
        kept.add(int(asked.weight[0].argmax()))
        assert torch.equal(asked.weight[-2:], ROWS[4:])
    assert kept == {0, 3}


@pytest.mark.parametrize('wrong', [{'synonym_probability': 1.5}, {'absent_classes': -1}])
def test_words_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        built('FCCLIP', {}, drawn_words=wrong)


# PMP -----------------------------------------------------------------------------------------


def guided(kind='FCCLIP', moved=True, **more):
    model = built(kind, {'text_guided': True}, **more)
    if moved:
        torch.manual_seed(3)
        with torch.no_grad():
            for part in model.proposals.text_guide.attentions:
                part.out_proj.weight.normal_()
    return model


def asked(model, classifier=None):
    (encoding,) = model.encode(Images(tiny_fcclip.images()))
    return encoding.asked(classifier or model.classifier)


@pytest.mark.parametrize('kind', list(KINDS))
def test_a_published_file_means_the_same_with_a_guide_that_was_not_trained(kind, tmp_path):
    plain = built(kind, {})
    torch.save({'model': plain.to_published()}, tmp_path / 'published.pth')
    model = guided(kind, moved=False)
    load_checkpoint_strict(model, tmp_path / 'published.pth')
    torch.testing.assert_close(
        asked(model).proposals.maps.maps, asked(plain).proposals.maps.maps, rtol=0, atol=1e-4
    )
    size = tiny_fcclip.SIZE
    (own,), (theirs,) = (each.encode(Images(tiny_fcclip.images())) for each in (model, plain))
    assert torch.equal(model.segment(own, size).labels, plain.segment(theirs, size).labels)
    stuff = {'stuff': frozenset({2})}
    ids = model.find_segments(own, size, **stuff).ids
    assert torch.equal(ids, plain.find_segments(theirs, size, **stuff).ids)


def test_guided_masks_follow_the_words_and_not_their_order():
    model = guided()
    wanted = asked(model).proposals.maps.maps
    (encoding,) = model.encode(Images(tiny_fcclip.images()))
    order = model.build_classifier(vocabulary_of(model, [2, 0, 3, 1]))
    fewer = model.build_classifier(vocabulary_of(model, [0, 2]))
    torch.testing.assert_close(
        encoding.asked(order).proposals.maps.maps, wanted, rtol=1e-3, atol=1e-3
    )
    assert (encoding.asked(fewer).proposals.maps.maps - wanted).abs().max() > 0.1
    assert encoding.asked(fewer) is encoding.asked(fewer)
    again = model.unasked(encoding).asked(fewer)
    assert again is not encoding.asked(fewer)
    assert torch.equal(again.proposals.maps.maps, encoding.asked(fewer).proposals.maps.maps)


def vocabulary_of(model, labels):
    from ovseg.vocabulary import Vocabulary

    return Vocabulary.parse([tiny_fcclip.WORDS[label] for label in labels])


def test_images_of_a_batch_have_their_own_guided_masks():
    model, images = guided(), tiny_fcclip.images(2)
    both = model.encode(Images(images))
    for number, each in enumerate(both):
        (alone,) = model.encode(Images(images[number : number + 1]))
        torch.testing.assert_close(
            each.asked(model.classifier).proposals.maps.maps,
            alone.asked(model.classifier).proposals.maps.maps,
            rtol=1e-4,
            atol=1e-3,
        )


def test_guided_masks_have_no_published_format():
    with pytest.raises(UserError, match='text_guide'):
        guided().to_published()


# Trainings -----------------------------------------------------------------------------------


@pytest.mark.parametrize('option', ['gkc', 'pmp'])
def test_a_training_with_the_option_steps_and_moves_its_parts(option, tmp_path):
    config = read_config(f'fcclip_{option}_tiny_scenes')
    config.train_dataloader.batch_size = 2
    config.train_dataloader.dataset.num_scenes = 4
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=100)
    config.work_dir = str(tmp_path)
    train(config, option, val_dataloader=None, val_cfg=None, val_evaluator=None)
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    part = {
        'gkc': 'proposals.relation_scale',
        'pmp': 'proposals.text_guide.attentions.0.out_proj.weight',
    }[option]
    start = {'gkc': 1.0, 'pmp': 0.0}[option]
    assert (saved[part] != start).any() and saved[part].isfinite().all()
