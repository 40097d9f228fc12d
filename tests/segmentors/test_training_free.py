from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from tiny_clip_models import RESNET, VIT

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.vocabulary import Rejection

WORDS = 'cat, kitten; dog; grass; sky'


def build(clip=VIT, seed=0, **settings):
    torch.manual_seed(seed)
    settings.setdefault('vocabulary', WORDS)
    settings.setdefault('text', {'templates': 'single'})
    return TrainingFreeSegmentor(clip={'model': clip, 'pretrained': 'random'}, **settings).eval()


def sample(size, **meta):
    return SegDataSample(metainfo={'ori_shape': size, **meta})


def labels_of(model, image, size, **meta):
    (result,) = model.predict(image, [sample(size, **meta)])
    return result.pred_sem_seg.data[0]


@pytest.mark.parametrize('clip', [VIT, RESNET], ids=['vit', 'resnet'])
@pytest.mark.parametrize(
    'test_cfg',
    [None, {'mode': 'slide', 'crop_size': (32, 40), 'stride': (20, 20), 'window_batch': 2}],
    ids=['whole', 'slide'],
)
@pytest.mark.parametrize(
    'refiners',
    [[], [{'type': 'PromptDenoising', 'threshold': 0.2}, {'type': 'KeySmoothing'}]],
    ids=['plain', 'refined'],
)
def test_prediction_equals_the_plain_computation(clip, test_cfg, refiners):
    model = build(clip, test_cfg=test_cfg, refiners=refiners)
    image, size = torch.randn(1, 3, 57, 75), (90, 101)
    scores = model.encode_decode(image, [])
    assert scores.shape == (1, 4, 57, 75)
    plain = torch.nn.functional.interpolate(scores, size=size, mode='bilinear', align_corners=False)
    labels = labels_of(model, image, size)
    assert labels.shape == size and labels.dtype == torch.int64
    best = plain.topk(2, dim=1).values[0]
    is_clear = best[0] - best[1] > 1e-5
    assert is_clear.float().mean() > 0.99
    assert torch.equal(labels[is_clear], plain.argmax(1)[0][is_clear])


def test_logits_come_only_when_asked_for_and_agree_with_the_labels():
    image = torch.randn(1, 3, 40, 40)
    (plain,) = build().predict(image, [sample((50, 60))])
    assert 'seg_logits' not in plain
    (asked,) = build(test_cfg={'save_logits': True}).predict(image, [sample((50, 60))])
    logits = asked.seg_logits.data
    assert logits.shape == (4, 50, 60)
    assert torch.allclose(logits.exp().sum(0), torch.ones(50, 60), atol=1e-4)
    assert torch.equal(logits.argmax(0), plain.pred_sem_seg.data[0])


def test_probability_maps_are_thresholded_as_they_are():
    refiners = [{'type': 'ScoreSoftmax', 'scale': 1.0}]
    model = build(refiners=refiners, vocabulary={'classes': WORDS, 'rejection': {
        'kind': 'threshold', 'threshold': 0.5}})  # fmt: skip
    image = torch.randn(1, 3, 40, 40)
    # At scale 1 the four probabilities stay near 1/4: under the threshold everywhere.
    assert model.vocabulary.names[0] == 'background'
    assert (labels_of(model, image, (40, 40)) == 0).all()
    model.set_vocabulary(WORDS, Rejection('threshold', 0.2))
    assert (labels_of(model, image, (40, 40)) > 0).all()


def test_words_change_at_any_time_and_an_unreadable_change_loses_nothing():
    model = build()
    image = torch.randn(1, 3, 40, 40)
    first = labels_of(model, image, (40, 40))
    model.set_vocabulary('red; blue')
    assert model.num_classes == 2 and labels_of(model, image, (40, 40)).max() < 2
    with pytest.raises(ValueError, match='duplicate|twice'):
        model.set_vocabulary('red; red')
    assert model.vocabulary.names == ('red', 'blue')
    model.set_vocabulary(WORDS)
    assert torch.equal(labels_of(model, image, (40, 40)), first)


def test_an_encoding_answers_other_words_without_the_encoder():
    model = build()
    encoding = model.encode(Images(torch.randn(1, 3, 40, 40)))[0]
    model.encoder.forward = None  # any further call would fail
    model.set_vocabulary('one; two; three')
    decision = model.segment(encoding, (30, 30), keep_scores=True)
    labels, scores = decision.labels, decision.scores
    assert labels.shape == (30, 30) and scores.shape == (3, 30, 30)
    assert torch.equal(scores.argmax(0), labels)


PAMR = {'type': 'PAMR', 'steps': 2, 'dilations': (1, 3)}


def test_a_pixel_refiner_works_at_the_size_of_the_image():
    test_cfg = {'mode': 'slide', 'crop_size': 32, 'stride': 16}
    model, plain = build(pixel_refiner=PAMR, test_cfg=test_cfg), build(test_cfg=test_cfg)
    images, size = torch.randn(2, 3, 50, 44), (61, 47)
    results = model.predict(images, [sample(size) for _ in images])
    for image, result in zip(images, results, strict=True):
        scores = plain.encode_decode(image[None], [])
        full, pixels = (
            torch.nn.functional.interpolate(maps, size=size, mode='bilinear')[0]
            for maps in (scores, image[None])
        )
        refined = model.pixel_refiner(full, model.pixel_refiner.prepare(pixels))
        labels = result.pred_sem_seg.data[0]
        assert (labels == refined.argmax(0)).float().mean() > 0.999
        assert (labels != full.argmax(0)).any()


def test_a_refined_encoding_answers_other_words_and_bands_of_any_height():
    model = build(pixel_refiner=PAMR)
    encoding = model.encode(Images(torch.randn(1, 3, 40, 40)))[0]
    assert build().encode(Images(torch.randn(1, 3, 40, 40)))[0].image is None
    model.encoder.forward = None  # any further call would fail
    model.set_vocabulary('one; two; three')
    whole = model.segment(encoding, (50, 60), budget=MemoryBudget(64)).labels
    assert (whole == model.segment(encoding, (50, 60), budget=MemoryBudget(0.01)).labels).all()
    assert 'steps=2' in model.protocol()['pixel_refiner']


def test_small_classes_are_taken_out_of_an_image_and_their_pixels_decided_again():
    rule = {'kind': 'class_zero', 'min_area': 0.3, 'threshold': 0.0}
    image = torch.randn(1, 3, 40, 40)
    plain, ruled = (
        build(vocabulary={'classes': WORDS, 'rejection': {**rule, 'min_area': area}},
              text={'templates': 'single', 'combine': 'max'})
        for area in (0.0, 0.3)
    )  # fmt: skip
    before = labels_of(plain, image, (40, 40))
    counts = torch.bincount(before.flatten(), minlength=4)
    small = [label for label in (1, 2, 3) if counts[label] <= 0.3 * counts[1:].sum()]
    assert small and counts[small].sum() > 0
    decision = ruled.segment(
        ruled.encode(Images(image))[0], (40, 40), keep_scores=True, budget=MemoryBudget(0.01)
    )
    labels, shares = decision.labels, decision.scores
    assert not torch.isin(labels, torch.tensor(small)).any()
    kept = ~torch.isin(before, torch.tensor(small))
    assert torch.equal(labels[kept], before[kept])
    assert not shares[small].any() and torch.equal(shares.argmax(0), labels)
    assert 'classes of at most 30% of the foreground' in ruled.protocol()['background']


def test_scores_may_be_made_to_sum_to_one_without_another_label():
    settings = {'text': {'templates': 'single', 'combine': 'max'}}
    image = torch.randn(1, 3, 40, 40)
    plain = build(**settings)
    normalised = build(**settings, test_cfg={'normalize_scores': True})
    decision = plain.segment(plain.encode(Images(image))[0], (40, 40), keep_scores=True)
    labels, shares = decision.labels, decision.scores
    decision = normalised.segment(normalised.encode(Images(image))[0], (40, 40), keep_scores=True)
    again, sums = decision.labels, decision.scores
    assert torch.equal(labels, again)
    assert torch.allclose(sums, shares / shares.sum(0), atol=1e-6)
    assert not torch.allclose(shares.sum(0), torch.ones(40, 40), atol=1e-3)


def test_whole_images_may_skip_the_resize_to_the_input_size():
    image, size = torch.randn(1, 3, 57, 75), (31, 29)
    model = build(test_cfg={'upsampling': 'direct'}, encoder={'padding': 'floor'})
    features = model.encode(Images(image))[0].features.patch
    plain = torch.nn.functional.interpolate(
        model.classifier.scores(features), size=size, mode='bilinear'
    )
    assert torch.equal(labels_of(model, image, size), plain.argmax(1)[0])
    with pytest.raises(UserError, match="does not go with encoder.padding='centred'"):
        build(test_cfg={'upsampling': 'direct'}, encoder={'padding': 'centred'})


def test_without_words_the_error_says_what_to_do():
    model = build(vocabulary=None)
    assert model.num_classes == 0
    with pytest.raises(UserError, match='set_vocabulary'):
        model.predict(torch.randn(1, 3, 32, 32))


def test_frozen_towers_stay_out_of_checkpoints():
    assert not list(build().state_dict())


def test_it_is_built_by_name_under_any_default_scope():
    from mmengine.registry import DefaultScope

    config = ConfigDict(
        type='ovseg.TrainingFreeSegmentor',
        clip=dict(model=VIT, pretrained='random'),
        vocabulary=WORDS,
        refiners=[dict(type='ScoreSoftmax')],
    )
    from mmseg.registry import MODELS as MMSEG_MODELS

    with DefaultScope.overwrite_default_scope('mmseg'):
        assert isinstance(MMSEG_MODELS.build(config), TrainingFreeSegmentor)
    with DefaultScope.overwrite_default_scope('ovseg'):
        assert isinstance(
            MODELS.build({**config, 'type': 'TrainingFreeSegmentor'}), TrainingFreeSegmentor
        )


def test_published_text_embeddings_replace_the_text_tower(tmp_path):
    rows = torch.nn.functional.normalize(torch.randn(4, 24), dim=1)
    torch.save(rows, tmp_path / 'words_clip_text.pth')
    text = {'embeddings': str(tmp_path / 'words_clip_text.pth')}
    assert torch.equal(build(text=text).classifier.weight, rows)
    with pytest.raises(UserError, match='holds 4 text embeddings but the vocabulary has 2'):
        build(text=text, vocabulary='a cat; a dog')


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        ({'mode': 'sliding'}, "must be 'whole', 'slide' or 'splice'"),
        ({'mode': 'slide'}, 'test_cfg.crop_size is needed'),
        ({'mode': 'slide', 'crop_size': 32, 'stride': 40}, 'exceeds crop_size'),
        ({'mode': 'slide', 'crop_size': (0, 32), 'stride': 8}, 'test_cfg.crop_size must be'),
        ({'window_bach': 3}, "Did you mean 'window_batch'"),
        ({'window_batch': 0}, 'must be positive'),
        ({'upsampling': 'none'}, "test_cfg.upsampling must be 'via_input' or 'direct'"),
        (
            {'mode': 'slide', 'crop_size': 32, 'stride': 8, 'upsampling': 'direct'},
            "'direct' does not go with mode='slide'",
        ),
    ],
)
def test_inference_settings_that_do_not_fit_are_named(test_cfg, message):
    with pytest.raises(UserError, match=message):
        build(test_cfg=test_cfg)


def test_training_is_refused_in_one_sentence():
    with pytest.raises(UserError, match='needs no training'):
        build().loss(torch.randn(1, 3, 32, 32), [])


def test_the_protocol_tells_what_decides_a_number():
    facts = build(
        test_cfg={'mode': 'slide', 'crop_size': 32, 'stride': 16},
        refiners=[{'type': 'KeySmoothing'}],
        vocabulary={'dataset': 'voc20', 'protocol': 'maskclip'},
    ).protocol()
    assert facts['vocabulary'] == 'voc20/maskclip' and facts['templates'] == 'single'
    assert facts['window'] == (32, 32) and facts['stride'] == (16, 16)
    assert "attention='value'" in facts['last_block'] and 'KeySmoothing' in facts['refiners'][0]


@pytest.mark.gpu
def test_half_precision_on_a_gpu_agrees_with_single_on_cpu():
    model = build()
    image = torch.randn(1, 3, 64, 64)
    expected = labels_of(model, image, (64, 64))
    with torch.autocast('cuda', dtype=torch.float16):
        ours = labels_of(model.cuda(), image.cuda(), (64, 64)).cpu()
    assert (ours == expected).float().mean() > 0.98


def test_features_of_another_text_model_than_the_rows_are_an_error():
    mine, other = build(), build(seed=1)
    encoding = mine.encode(Images(torch.randn(1, 3, 40, 40)))[0]
    with pytest.raises(UserError, match='classifier was made by text model .* but the features'):
        mine.segment(encoding, (40, 40), other.classifier)
    with pytest.raises(UserError, match='build it again with the model in use'):
        other.segment(encoding, (40, 40))
