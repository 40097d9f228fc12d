from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_clip_models import RESNET, VIT
from torch.nn import functional as F

from ovseg.encoders import DenseFeatures
from ovseg.engine.checkpoint import load_state_strict
from ovseg.errors import UserError
from ovseg.segmentors import ImageEncoding, MaskCLIPPlusSegmentor
from ovseg.training.pseudo_labels import Distillation, distillation_loss

WORDS = ('cat', 'sofa', 'wall', 'sky')
SIZE = (48, 64)
TEACHER = dict(
    type='TrainingFreeSegmentor',
    clip=dict(model=VIT, pretrained='random'),
    text=dict(templates='single', cache_dir=None),
    data_preprocessor=dict(type='SegDataPreProcessor'),
)
BACKBONE = dict(
    type='ResNetV1c',
    depth=18,
    stem_channels=4,
    base_channels=4,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    norm_cfg=dict(type='BN'),
)
MODULES = {
    'deeplabv2': dict(type='DeepLabV2Module', in_channels=32, dilations=(1, 2)),
    'deeplabv3plus': dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=32,
        dilations=(1, 2),
        c1_in_channels=4,
        c1_channels=4,
    ),
    'fcn': dict(type='FCNHead', in_channels=32, num_convs=1, concat_input=False),
    'upernet': dict(type='UPerHead', in_channels=(4, 8, 16, 32), in_index=(0, 1, 2, 3)),
    'segformer': dict(type='SegformerHead', in_channels=(4, 8, 16, 32), in_index=(0, 1, 2, 3)),
}


def student(decode_module='deeplabv2', head=None, **settings):
    torch.manual_seed(0)
    module = dict(MODULES[decode_module], norm_cfg=dict(type='BN'))
    defaults = dict(
        backbone=BACKBONE,
        decode_head=dict(
            type='MaskCLIPPlusHead', channels=24, decode_module=module, **(head or {})
        ),
        vocabulary='; '.join(WORDS),
        teacher=TEACHER,
        data_preprocessor=dict(type='SegDataPreProcessor'),
    )
    return MaskCLIPPlusSegmentor(**{**defaults, **settings})


def batch(labels=-1, count=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, *SIZE, generator=generator)
    if not isinstance(labels, torch.Tensor):
        labels = torch.full((count, *SIZE), labels)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    return images, samples


def labels_used(model, images, samples):
    """The labels that a training step trained with."""
    seen = []
    original = model.decode_head.loss_by_feat
    model.decode_head.loss_by_feat = lambda s, y: seen.append(y) or original(s, y)
    losses = model.loss(images, samples)
    del model.decode_head.loss_by_feat
    return seen[0], losses


@pytest.mark.parametrize('name', MODULES)
def test_decoders_of_mmseg_learn_and_predict(name):
    model = student(name)
    assert not [key for key in model.state_dict() if 'conv_seg' in key or 'teacher' in key]
    images, samples = batch()
    losses = model.loss(images, samples)
    losses['decode.loss_ce'].backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert all(p.grad is None for p in model.teacher.parameters())
    model.eval()
    prediction = model.predict(images)[0].pred_sem_seg.data
    assert prediction.shape == (1, *SIZE) and prediction.max() < len(WORDS)


def test_pixels_get_the_teachers_own_labels():
    model = student(pseudo_labels=dict())
    images, samples = batch()
    labels, losses = labels_used(model, images, samples)
    predictions = model.teacher.predict(images)
    expected = torch.cat([sample.pred_sem_seg.data for sample in predictions])
    assert torch.equal(labels, expected)
    assert losses['decode.labelled'] == 100


def test_a_teacher_with_windows_and_other_statistics_labels_as_it_predicts():
    statistics = dict(mean=[10.0, 20.0, 30.0], std=[2.0, 3.0, 4.0])
    own = dict(mean=[1.0, 2.0, 3.0], std=[5.0, 6.0, 7.0])
    model = student(
        teacher=dict(
            TEACHER,
            test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)),
            data_preprocessor=dict(type='SegDataPreProcessor', **statistics),
        ),
        data_preprocessor=dict(type='SegDataPreProcessor', **own),
    )
    images, samples = batch()
    labels, _ = labels_used(model, images, samples)
    pixels = images * torch.tensor(own['std'])[:, None, None]
    pixels = pixels + torch.tensor(own['mean'])[:, None, None]
    inputs = model.teacher.data_preprocessor({'inputs': list(pixels)}, False)['inputs']
    expected = torch.cat([s.pred_sem_seg.data for s in model.teacher.predict(inputs)])
    assert (labels == expected).float().mean() > 0.999


def test_refiners_of_the_teacher_see_the_unlabelled_classes_only():
    refiners = [
        dict(type='PromptDenoising', threshold=0.5),
        dict(type='KeySmoothing', threshold=1.0),
    ]
    model = student(teacher=dict(TEACHER, refiners=refiners), pseudo_labels=dict(categories=[1, 3]))
    seen = []
    scores = model.teacher.scores

    def watched(encoding, rows, size):
        seen.append(rows)
        return scores(encoding, rows, size)

    model.teacher.scores = watched
    labels, _ = labels_used(model, *batch())
    assert set(labels.unique().tolist()) <= {1, 3}
    assert torch.equal(seen[0].weight, model.decode_head.text_embeddings[[1, 3]])


def test_only_unlabelled_pixels_change_without_a_threshold():
    given = torch.zeros(2, *SIZE, dtype=torch.int64)
    given[:, :20], given[:, 20:30] = 255, -1
    model = student(pseudo_labels=dict(categories=[2, 3]))
    labels, _ = labels_used(model, *batch(given))
    assert torch.equal(labels[:, :20], given[:, :20]) and not labels[:, 30:].any()
    assert set(labels[:, 20:30].unique().tolist()) <= {2, 3}


def test_the_threshold_takes_every_unsure_pixel_away_a_labelled_one_too():
    given = torch.zeros(2, *SIZE, dtype=torch.int64)
    given[:, 20:30] = -1
    settings = dict(categories=[2, 3], conf_thresh=2.0)  # no cosine is that high
    labels, losses = labels_used(student(pseudo_labels=settings), *batch(given))
    assert (labels == 255).all() and losses['decode.loss_ce'] == 0
    given[:] = 0  # a batch without an unlabelled pixel is left as it is
    labels, _ = labels_used(student(pseudo_labels=settings), *batch(given))
    assert not labels.any()


def test_the_mean_runs_over_all_pixels_or_over_labelled_ones():
    given = torch.full((2, *SIZE), 255)
    given[0, :12] = 1
    losses = {}
    for only_labelled in (False, True):
        model = student(head=dict(avg_non_ignore=only_labelled), pseudo_labels=dict(categories=[3]))
        model.eval()
        losses[only_labelled] = model.loss(*batch(given))['decode.loss_ce']
    assert torch.isclose(losses[False] * 8, losses[True])
    scores = F.interpolate(model(batch()[0], mode='tensor'), SIZE, mode='bilinear')
    expected = F.cross_entropy(scores, given, ignore_index=255)
    assert torch.isclose(losses[True], expected, rtol=1e-4)


def test_phases_follow_the_count_of_training_iterations_only():
    model = student(
        pseudo_labels=dict(categories=[2, 3], clip_guided=(2, 2), self_training=(4, None))
    )
    asked = []
    teach = model._teach
    model._teach = lambda images: asked.append(int(model.iterations)) or teach(images)
    used = []
    for _ in range(4):
        used.append(bool((labels_used(model, *batch())[0] != 255).any()))
        model.eval()
        model.predict(batch()[0])
        model.train()
    assert used == [False, True, False, True]
    assert asked == [2] and model.iterations == 4


def test_self_training_takes_the_students_own_best_class():
    model = student(
        pseudo_labels=dict(categories=[0, 2], clip_guided=None, self_training=(1, -1)),
        teacher=dict(TEACHER),
    ).eval()
    images, samples = batch()
    labels, _ = labels_used(model, images, samples)
    scores = F.interpolate(model(images, mode='tensor')[:, [0, 2]], SIZE, mode='bilinear')
    assert (labels == scores.argmax(1) * 2).float().mean() > 0.999


def test_a_learned_background_is_class_zero_and_trains():
    model = student(
        head=dict(cls_bg=True),
        pseudo_labels=dict(categories=[4], clip_guided=(1, 1), self_training=(2, None)),
    )
    assert model.vocabulary.names == ('background', *WORDS) and model.num_classes == 5
    given = torch.zeros(2, *SIZE, dtype=torch.int64)
    given[:, 10:] = -1
    labels, losses = labels_used(model, *batch(given))
    assert set(labels.unique().tolist()) == {0, 4}
    losses['decode.loss_ce'].backward()
    assert model.decode_head.bg_embeddings.grad.abs().max() > 0
    rows = model.classifier
    assert rows.class_index.tolist() == [0, 1, 2, 3, 4]
    assert torch.allclose(rows.weight[0].norm(), torch.ones(()))
    # Words of the user's own leave it out, unless they have a background without words.
    assert len(model.build_classifier(student().vocabulary).weight) == 4


def test_distillation_reports_without_a_gradient_unless_asked():
    gradients, losses = [], []
    for gradient in (False, True):
        model = student(
            pseudo_labels=dict(clip_guided=None, distill=dict(gradient=gradient, weight=2.0))
        )
        loss = model.loss(*batch())
        assert loss['decode.loss_ce'] == 0
        (loss['decode.loss_ce'] + loss['decode.loss_distill']).backward()
        gradients.append(model.backbone.stem[0].weight.grad.abs().max().item())
        losses.append(loss['decode.loss_distill'].item())
    assert gradients[0] == 0 and gradients[1] > 0
    assert losses[0] == pytest.approx(losses[1]) and losses[0] > 0


def test_auxiliary_heads_learn_the_same_labels():
    head = dict(type='FCNHead', in_channels=16, in_index=2, channels=8, num_convs=1)
    loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    model = student(auxiliary_head=[dict(head, norm_cfg=dict(type='BN'), loss_decode=loss)])
    losses = model.loss(*batch())
    assert {'decode.loss_ce', 'aux_0.loss_ce'} <= set(losses)


def test_the_teacher_never_trains():
    model = student(teacher=dict(TEACHER, clip=dict(model=RESNET, pretrained='random')))
    before = {k: v.clone() for k, v in model.teacher.clip.state_dict().items()}
    model.train()
    model.loss(*batch())
    assert model.decode_head.training and not model.teacher.clip.training
    after = model.teacher.clip.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_checkpoint_holds_the_student_only_and_brings_its_count():
    model = student()
    model.loss(*batch())
    state = model.state_dict()
    assert not [key for key in state if key.startswith('teacher')]
    again = student()
    load_state_strict(again, state, 'file.pth')
    assert again.iterations == 1
    alone = student(teacher=None)
    load_state_strict(alone, state, 'file.pth')
    images = batch()[0]
    assert torch.equal(alone.eval()(images, mode='tensor'), model.eval()(images, mode='tensor'))


@pytest.mark.parametrize('clip', [VIT, RESNET], ids=['vit', 'resnet'])
@pytest.mark.parametrize('has_background', [False, True])
def test_the_published_format_goes_both_ways(clip, has_background):
    def build(**settings):
        settings.setdefault('teacher', dict(TEACHER, clip=dict(model=clip, pretrained='random')))
        return student('deeplabv3plus', head=dict(cls_bg=has_background), **settings)

    model = build()
    model.loss(*batch())
    published = model.to_published()
    assert published['decode_head._iter_counter'] == 1
    prefix = 'decode_head.'
    assert f'{prefix}clip.{"cls_token" if clip is VIT else "stem.0.weight"}' in published
    assert f'{prefix}{"proj" if clip is VIT else "c_proj"}.weight' in published
    assert (f'{prefix}bg_embeddings' in published) == has_background
    again, alone = build(), build(teacher=None)
    for other in (again, alone):
        with torch.no_grad():
            next(other.backbone.parameters()).zero_()
        load_state_strict(other, published, 'file.pth')
        images = batch()[0]
        assert torch.equal(other.eval()(images, mode='tensor'), model.eval()(images, mode='tensor'))
        assert other.iterations == 1


def test_new_words_are_asked_of_the_students_features():
    model = student().eval()
    images, _ = batch()
    model.set_vocabulary('sky; cat; red sofa, couch')
    assert model.classifier.weight[:2].allclose(model.decode_head.text_embeddings[[3, 0]])
    assert model.predict(images)[0].pred_sem_seg.data.max() < 3
    alone = student(teacher=None)
    alone.set_vocabulary('sky; cat')
    with pytest.raises(UserError, match="trained for 4 classes and 'sof' is none.*mean 'sofa'"):
        alone.set_vocabulary('sky; sof')
    assert alone.vocabulary.names == ('sky', 'cat')


def test_scores_are_kept_on_request_and_strips_change_nothing():
    images, _ = batch()
    plain = student(test_cfg=dict(mode='whole', save_logits=True)).eval()
    strips = student(test_cfg=dict(mode='whole', strip_megabytes=0.01)).eval()
    sample = plain.predict(images)[0]
    probabilities = F.interpolate(plain(images, mode='tensor'), SIZE, mode='bilinear').softmax(1)
    assert torch.allclose(sample.seg_logits.data.exp(), probabilities[0], atol=1e-5)
    assert torch.equal(strips.predict(images)[0].pred_sem_seg.data, sample.pred_sem_seg.data)


def _labels(**settings):
    return dict(pseudo_labels=settings)


@pytest.mark.parametrize(
    'settings, message',
    [
        (_labels(clip_guided=(1, 9), self_training=(9, None)), r'clip_guided \(1, 9\) .*overlap'),
        (_labels(self_training=(5, 9)), 'overlap'),
        (_labels(clip_guided=(0, 4)), r'must be \(first, last\) iteration, counted from 1'),
        (_labels(clip_guided=(5, 4)), 'ends before it begins'),
        (_labels(categories=[4]), 'has the class 4, but there are 4 classes'),
        (_labels(categories=[1, 1]), 'different class numbers'),
        (_labels(conf_tresh=0.5), "no setting 'conf_tresh'.*mean 'conf_thresh'"),
        (_labels(distill={}), 'distill replaces labels'),
        (_labels(distill=dict(weights=1), clip_guided=None), "distill has no setting 'weights'"),
        (dict(vocabulary=None), 'set model.vocabulary'),
        (dict(vocabulary='cat, kitten; sofa', teacher=dict(TEACHER, text=dict(combine='max'))),
         "set model.teacher.text.combine to 'mean'"),
        (dict(data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True)), 'bgr_to_rgb'),
        (dict(decode_module='deeplabv2', head=dict(channels=8)), 'set it to that'),
        (dict(head=dict(cls_bg=True), vocabulary=dict(dataset='voc21', protocol='sclip')),
         'other classes only'),
        (dict(head=dict(cls_bg=True), **_labels(categories=[0, 1])), 'the learned background'),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_one_sentence(settings, message):
    settings = dict(settings)
    head = settings.get('head') or {}
    if 'channels' in head:
        settings['head'] = None
        module = dict(MODULES['deeplabv2'], norm_cfg=dict(type='BN'))
        settings['decode_head'] = dict(
            type='MaskCLIPPlusHead', decode_module=module, channels=head['channels']
        )
    with pytest.raises(UserError, match=message):
        student(**settings)


def test_labels_that_give_a_category_away_stop_the_training():
    with pytest.raises(UserError, match='the labels give away class 2'):
        student(pseudo_labels=dict(categories=[2])).loss(*batch(2))


def test_a_step_without_what_it_needs_says_so():
    with pytest.raises(UserError, match='no text rows to learn'):
        student(teacher=None).loss(*batch())
    alone = student(teacher=None)
    alone.decode_head.text_embeddings.fill_(1.0)
    with pytest.raises(UserError, match='model.teacher is None'):
        alone.loss(*batch())
    with pytest.raises(UserError, match='has no label map: add .*SuppressLabels'):
        student().loss(batch()[0], [SegDataSample(), SegDataSample()])


@pytest.mark.parametrize(
    'module, message',
    [
        (dict(type='FCNHead', in_channels=32, channels=8), 'channels is 8, but the text space'),
        (dict(type='PointHead', in_channels=[32], in_index=[0]), 'no 1x1 classifier to replace'),
    ],
)
def test_heads_that_cannot_take_text_are_refused(module, message):
    head = dict(type='MaskCLIPPlusHead', channels=24, decode_module=module)
    with pytest.raises(UserError, match=message):
        student(decode_head=head)


def test_features_of_a_teacher_that_pads_all_sides_keep_their_place():
    # Maps of 2 x 2 patches of 8 pixels around an image of 12 x 12: 2 pixels beyond each side.
    patch = torch.zeros(1, 2, 2, 2)
    patch[0, 0, :, 0], patch[0, 1, :, 1] = 1.0, 1.0
    encoding = ImageEncoding(DenseFeatures(patch), [(0, 0, 12, 12)], (12, 12), margins=(2, 2, 2, 2))
    full = F.interpolate(patch, (16, 16), mode='bilinear', align_corners=False)
    own = full[..., 2:14, 2:14].contiguous()
    labels = torch.full((1, 12, 12), -1)
    assert distillation_loss(own, [encoding], labels, Distillation(), 255) < 1e-6
    shifted = F.interpolate(patch, (12, 12), mode='bilinear', align_corners=False)
    assert distillation_loss(shifted, [encoding], labels, Distillation(), 255) > 1e-2


def test_a_pixel_refiner_of_the_teacher_is_refused():
    with pytest.raises(UserError, match='model.teacher.pixel_refiner would not be applied'):
        student(teacher={**TEACHER, 'pixel_refiner': dict(type='PAMR')})
