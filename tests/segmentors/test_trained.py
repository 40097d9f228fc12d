from __future__ import annotations

import warnings

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.segmentors import TrainedSegmentor

WORDS = ('cat', 'sofa', 'wall', 'sky')
SIZE = (64, 96)
BACKBONE = dict(type='CLIPResNet', layers=(1, 1, 1, 1), width=8)
NECK = dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=8, num_outs=4)
HEAD = dict(
    type='FPNHead',
    in_channels=[8, 8, 8, 8],
    in_index=[0, 1, 2, 3],
    feature_strides=[4, 8, 16, 32],
    channels=8,
    norm_cfg=dict(type='BN'),
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
)
AUXILIARY = dict(
    type='FCNHead',
    in_channels=8,
    in_index=2,
    channels=8,
    num_convs=1,
    concat_input=False,
    norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.5),
)


def segmentor(**settings):
    torch.manual_seed(0)
    model = TrainedSegmentor(
        **{
            **dict(backbone=BACKBONE, neck=NECK, decode_head=HEAD, vocabulary='; '.join(WORDS)),
            **dict(data_preprocessor=dict(type='SegDataPreProcessor')),
            **settings,
        }
    )
    with torch.no_grad():  # scores among which every class wins somewhere
        nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
        scores = model.eval()(images(), mode='tensor')
        model.decode_head.conv_seg.bias -= scores.mean((0, 2, 3))
    return model.train()


def images(count=2, size=SIZE):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def samples(count=2, size=SIZE):
    labels = torch.randint(4, (count, *size), generator=torch.Generator().manual_seed(2))
    labels[:, :7] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def of_size(*size, **facts):
    return SegDataSample(metainfo=dict(ori_shape=size, **facts))


def grown(scores, size):
    return F.interpolate(scores, size, mode='bilinear', align_corners=False)


@torch.no_grad()
def logits(model, inputs):
    """Class scores at the input size, with mmseg's parts called one by one."""
    features = model.neck(model.backbone(inputs))
    return grown(model.decode_head(features), inputs.shape[2:])


@torch.no_grad()
def slid(model, inputs, crop, stride):
    """mmseg's sliding window, written out for one image."""
    height, width = inputs.shape[2:]
    total = torch.zeros(1, len(WORDS), height, width)
    counts = torch.zeros(1, 1, height, width)

    def starts(length, crop, stride):
        steps = max(length - crop + stride - 1, 0) // stride + 1
        return [max(min(step * stride + crop, length) - crop, 0) for step in range(steps)]

    for top in starts(height, crop[0], stride[0]):
        for left in starts(width, crop[1], stride[1]):
            window = (..., slice(top, top + crop[0]), slice(left, left + crop[1]))
            total[window] += logits(model, inputs[window])
            counts[window] += 1
    return total / counts


def agree(labels, expected):
    return (labels == expected).float().mean() > 0.999 and len(expected.unique()) > 1


# Training ------------------------------------------------------------------------------------


def test_it_trains_as_mmseg_does_and_every_parameter_learns():
    model = segmentor(auxiliary_head=AUXILIARY)
    inputs, given = images(), samples()
    model.eval()  # fixed statistics, no dropout
    losses = model.loss(inputs, given)
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', 'aux.acc_seg'}
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in given])
    # Ignored pixels count as zero, as in mmseg 0.x.
    expected = F.cross_entropy(logits(model, inputs), labels, ignore_index=255, reduction='sum')
    torch.testing.assert_close(losses['decode.loss_ce'], expected / labels.numel())
    (losses['decode.loss_ce'] + losses['aux.loss_ce']).backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None]


def test_several_auxiliary_heads_have_numbers():
    model = segmentor(auxiliary_head=[AUXILIARY, dict(AUXILIARY, in_index=3)])
    losses = model.loss(images(), samples())
    assert {'aux_0.loss_ce', 'aux_1.loss_ce'} <= set(losses)


def test_without_neck_a_stock_head_reads_the_levels():
    head = dict(
        type='UPerHead',
        in_channels=[32, 64, 128, 256],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2),
        channels=8,
        norm_cfg=dict(type='BN'),
    )
    model = segmentor(neck=None, decode_head=head)
    model.loss(images(), samples())['decode.loss_ce'].backward()
    assert model.backbone.conv1.weight.grad.abs().max() > 0
    assert model.eval().predict(images())[0].pred_sem_seg.data.shape == (1, *SIZE)


def test_classes_of_the_heads_come_from_the_vocabulary():
    model = segmentor(auxiliary_head=AUXILIARY)
    assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 4
    with pytest.raises(UserError, match='model.decode_head.num_classes is 5, .* has 4 classes'):
        segmentor(decode_head=dict(HEAD, num_classes=5))
    with pytest.raises(UserError, match='model.auxiliary_head.num_classes is 3'):
        segmentor(auxiliary_head=[dict(AUXILIARY, num_classes=3)])


# Predictions ---------------------------------------------------------------------------------


def test_a_batch_gets_the_best_class_at_each_images_own_size():
    model, inputs = segmentor().eval(), images(3)
    sizes = [(64, 96), (120, 33), (50, 200)]
    found = model.predict(inputs, [of_size(*size) for size in sizes])
    for sample, scores, size in zip(found, logits(model, inputs), sizes, strict=True):
        expected = grown(scores[None], size).argmax(1)
        assert agree(sample.pred_sem_seg.data, expected)


@pytest.mark.parametrize('size', [(64, 96), (70, 50), (40, 130)])
def test_windows_are_averaged_at_the_input_size(size):
    settings = dict(mode='slide', crop_size=(48, 48), stride=(32, 32))
    model = segmentor(test_cfg=settings).eval()
    inputs = images(1, size)
    (found,) = model.predict(inputs, [of_size(77, 81)])
    expected = grown(slid(model, inputs, (48, 48), (32, 32)), (77, 81)).argmax(1)
    assert agree(found.pred_sem_seg.data, expected)


def test_an_image_smaller_than_the_window_is_run_as_it_is():
    settings = dict(mode='slide', crop_size=(96, 128), stride=(64, 64))
    model, inputs = segmentor(test_cfg=settings).eval(), images(2, (45, 70))
    for sample, expected in zip(model.predict(inputs), logits(model, inputs), strict=True):
        assert agree(sample.pred_sem_seg.data[0], expected.argmax(0))


def test_scores_on_request_are_log_probabilities():
    model, inputs = segmentor(test_cfg=dict(mode='whole', save_logits=True)).eval(), images(1)
    (found,) = model.predict(inputs)
    expected = logits(model, inputs)[0].log_softmax(0)
    torch.testing.assert_close(found.seg_logits.data, expected, rtol=1e-4, atol=1e-4)


def test_encode_decode_gives_scores_at_the_input_size():
    model, inputs = segmentor().eval(), images()
    with torch.no_grad():
        found = model.encode_decode(inputs, [{}, {}])
    torch.testing.assert_close(found, logits(model, inputs), rtol=1e-4, atol=1e-5)


# Words ---------------------------------------------------------------------------------------


def test_asked_for_words_pick_their_scores_in_their_order():
    model, inputs = segmentor().eval(), images()
    model.set_vocabulary('sky; cat')
    expected = logits(model, inputs)[:, [3, 0]].argmax(1)
    found = torch.cat([sample.pred_sem_seg.data for sample in model.predict(inputs)])
    assert agree(found, expected)
    with torch.no_grad():
        scores = model.encode_decode(inputs, [{}, {}])
    torch.testing.assert_close(scores, logits(model, inputs)[:, [3, 0]], rtol=1e-4, atol=1e-5)
    assert model.loss(inputs, samples())['decode.loss_ce'].isfinite()  # training keeps its classes


def test_new_words_are_refused_and_the_old_stay():
    model = segmentor()
    model.set_vocabulary('sky; cat')
    with pytest.raises(UserError) as caught:
        model.set_vocabulary('sky; dog')
    assert str(caught.value).startswith(
        'this TrainedSegmentor was trained for 4 classes (cat; sofa; wall; sky) and '
        "'dog' is none of them: leave the words out"
    )
    assert model.vocabulary.names == ('sky', 'cat')
    with pytest.raises(UserError, match="'cat' is none of them"):  # other words for a class
        model.set_vocabulary('cat, kitten; sky')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(vocabulary=None), 'set model.vocabulary to their names in label order'),
        (dict(decode_head=dict(HEAD, align_corners=True)), 'align_corners is True, .* to False'),
        (
            dict(test_cfg=dict(mode='splice', crop_size=(32, 32), stride=(16, 16))),
            "mode='splice' is for frozen encoders",
        ),
    ],
)
def test_bad_settings_say_what_to_set(settings, message):
    with pytest.raises(UserError, match=message):
        segmentor(**settings)


def test_the_protocol_says_what_was_run():
    settings = dict(mode='slide', crop_size=(48, 48), stride=(32, 32))
    facts = segmentor(test_cfg=settings).protocol()
    assert facts['model'] == 'TrainedSegmentor' and facts['backbone'] == 'CLIPResNet'
    assert facts['window'] == (48, 48) and facts['vocabulary'] == '4 trained classes'
    assert segmentor().protocol()['window'] is None


def test_two_classes_are_as_good_as_any_other_number():
    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'For binary segmentation')
        assert segmentor(vocabulary='sky; grass').decode_head.out_channels == 2
