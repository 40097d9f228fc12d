from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FPNHead
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn import functional as F

from ovseg.engine.checkpoint import load_state_strict
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.segmentors import DenseCLIP

WORDS = ('cat', 'sofa', 'wall', 'sky')
SIZE = (64, 96)
RESNET = dict(
    type='CLIPResNetWithAttention',
    layers=(1, 1, 1, 1),
    width=8,
    output_dim=12,
    input_resolution=64,
)
VIT = dict(
    type='CLIPVisionTransformer',
    width=32,
    layers=4,
    heads=4,
    output_dim=12,
    input_resolution=64,
    out_indices=(0, 1, 2, 3),
    get_embeddings=True,
)
TEXT = dict(
    type='CLIPTextContextEncoder',
    context_length=8,
    transformer_width=16,
    transformer_heads=4,
    transformer_layers=1,
    embed_dim=12,
)
DECODER = dict(
    type='ContextDecoder',
    transformer_width=16,
    transformer_heads=4,
    transformer_layers=1,
    visual_dim=12,
)
NECK = dict(type='FPN', in_channels=[32, 64, 128, 256 + 4], out_channels=8, num_outs=4)
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
UPER = dict(
    type='UPerHead',
    in_channels=[32, 64, 128, 256 + 4],
    in_index=[0, 1, 2, 3],
    pool_scales=(1, 2),
    channels=8,
    norm_cfg=dict(type='BN'),
)
AUXILIARY = dict(
    type='FCNHead',
    in_channels=8,
    in_index=3,
    channels=8,
    num_convs=1,
    concat_input=False,
    norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.5),
)
DEFAULTS = dict(
    backbone=RESNET,
    text_encoder=TEXT,
    context_decoder=DECODER,
    neck=NECK,
    decode_head=HEAD,
    identity_head=dict(type='IdentityHead'),
    vocabulary='; '.join(WORDS),
    token_embed_dim=16,
    text_dim=12,
    data_preprocessor=dict(type='SegDataPreProcessor'),
)


@MODELS.register_module()
class HeadWithText(FPNHead):
    """Reads the text embeddings before the levels."""

    def forward(self, inputs):
        text, *levels = inputs
        self.seen = text
        return super().forward(levels) + text.mean((1, 2))[:, None, None, None]


def segmentor(well_set=True, **settings):
    """Random weights under which the context decoder matters."""
    torch.manual_seed(0)
    model = DenseCLIP(**{**DEFAULTS, **settings})
    with torch.no_grad():
        for parameter in model.context_decoder.parameters():
            nn.init.normal_(parameter, std=0.3)
        if model.matching_settings.prompting == 'post':
            nn.init.normal_(model.gamma)
        # Scores among which every class wins somewhere.
        nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
    if well_set:
        with torch.no_grad():
            scores = model.eval()(images(), mode='tensor')
            model.decode_head.conv_seg.bias -= scores.mean((0, 2, 3))
    return model.train()


def images(count=2, size=SIZE):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def samples(count=2, size=SIZE):
    labels = torch.randint(4, (count, *size), generator=torch.Generator().manual_seed(2))
    labels[:, :7] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def grown(scores, size=SIZE):
    return F.interpolate(scores, size, mode='bilinear', align_corners=False)


def mean_loss(scores, given):
    """Per-pixel cross-entropy; ignored pixels are zeros in the mean."""
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in given])
    loss = F.cross_entropy(grown(scores), labels, ignore_index=255, reduction='sum')
    return loss / labels.numel()


def guided(model, inputs, index=3):
    """(levels with the score map, score map, text): the model's parts called one by one."""
    found = model.backbone(inputs)
    dense = found.dense_embedding
    memory = torch.cat([found.global_embedding[:, None], dense.flatten(2).transpose(1, 2)], 1)
    text = model.text_encoder(model.tokens, model.contexts).expand(len(inputs), -1, -1)
    text = text + model.gamma * model.context_decoder(text, memory)
    scores = F.normalize(text, dim=2) @ F.normalize(dense, dim=1).flatten(2)
    scores = scores.unflatten(2, dense.shape[2:])
    levels = list(found.levels)
    levels[index] = torch.cat([levels[index], scores], 1)
    return levels, scores, text


# Training ------------------------------------------------------------------------------------


def test_losses_are_those_of_the_parts_called_one_by_one():
    model = segmentor(auxiliary_head=AUXILIARY).eval()  # fixed statistics, no dropout
    inputs, given = images(), samples()
    losses = model.loss(inputs, given)
    assert set(losses) == {
        f'{name}.{kind}'
        for name in ('decode', 'aux_identity', 'aux')
        for kind in ('loss_ce', 'acc_seg')
    }
    levels, scores, _ = guided(model, inputs)
    pyramid = model.neck(levels)
    expected = {
        'decode': mean_loss(model.decode_head(pyramid), given),
        'aux_identity': 0.4 * mean_loss(scores / 0.07, given),
        'aux': 0.5 * mean_loss(model.auxiliary_head(pyramid), given),  # sees the neck's outputs
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[f'{name}.loss_ce'], value, rtol=1e-4, atol=1e-6)


def test_without_identity_head_the_score_map_only_guides():
    losses = segmentor(identity_head=None).loss(images(), samples())
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}


def test_tau_scales_the_auxiliary_loss_only():
    values = {}
    for tau in (0.07, 0.5):
        model = segmentor(tau=tau).eval()
        losses = model.loss(images(), samples())
        values[tau] = losses['decode.loss_ce'].item(), losses['aux_identity.loss_ce'].item()
    assert values[0.07][0] == values[0.5][0] and values[0.07][1] != values[0.5][1]


def variants():
    swin = dict(
        type='SwinTransformer',
        _scope_='mmseg',
        embed_dims=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        window_size=4,
    )
    resnet = dict(
        type='ResNetV1c',
        _scope_='mmseg',
        depth=18,
        stem_channels=4,
        base_channels=4,
        norm_cfg=dict(type='BN'),
    )

    def pooled(inner, channels):
        pool = dict(output_dim=12, input_resolution=64, in_channels=channels, heads=4)
        return dict(type='BackboneWithAttentionPool', backbone=inner, **pool)

    def neck(*channels):
        return dict(NECK, in_channels=list(channels))

    vit = dict(backbone=VIT, neck=neck(32, 32, 36, 32), score_concat_index=2)
    vit8 = dict(backbone=dict(VIT, patch_size=8), neck=neck(32, 36, 32, 32), score_concat_index=1)
    return {
        'resnet': dict(),
        'vit': vit,
        'vit_patches_of_8': vit8,
        'auxiliary_head': dict(auxiliary_head=AUXILIARY),
        'upernet_without_neck': dict(neck=None, decode_head=UPER),
        'swin': dict(backbone=pooled(swin, 64), neck=neck(8, 16, 32, 68)),
        'resnet18': dict(backbone=pooled(resnet, 32), neck=neck(4, 8, 16, 36)),
        'pre_prompting': dict(prompting='pre'),
        'text_head': dict(text_head=True, decode_head=dict(HEAD, type='HeadWithText')),
    }


@pytest.mark.parametrize('frozen', [True, False])
@pytest.mark.parametrize('name', variants())
def test_a_step_reaches_every_parameter_that_is_not_frozen(name, frozen):
    model = segmentor(**variants()[name], freeze_text_encoder=frozen)
    model.init_weights()
    model.train()
    losses = model.loss(images(), samples())
    total = sum(value for key, value in losses.items() if 'loss' in key)
    total.backward()
    without = {key for key, value in model.named_parameters() if value.grad is None}
    tower = {f'text_encoder.{key}' for key, _ in model.text_encoder.named_parameters()}
    assert without == (tower if frozen else set())
    before = model.contexts.detach().clone()
    trained = [value for value in model.parameters() if value.requires_grad]
    torch.optim.AdamW(trained, lr=0.01).step()
    assert not torch.equal(model.contexts, before)
    model.eval()
    assert model.predict(images(1))[0].pred_sem_seg.data.shape == (1, *SIZE)


@torch.no_grad()
def test_a_head_without_neck_gets_the_score_map_with_the_levels():
    model = segmentor(neck=None, decode_head=UPER).eval()
    inputs = images()
    levels, _, _ = guided(model, inputs)
    found = model.extract_feat(inputs)
    assert [level.shape[1] for level in found] == UPER['in_channels']
    torch.testing.assert_close(found, levels, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_auxiliary_head_without_neck_reads_the_levels_without_score_map():
    model = segmentor(
        neck=None, decode_head=UPER, auxiliary_head=dict(AUXILIARY, in_channels=256)
    ).eval()
    inputs, given = images(), samples()
    expected = mean_loss(model.auxiliary_head(model.backbone(inputs).levels), given)
    torch.testing.assert_close(model.loss(inputs, given)['aux.loss_ce'], 0.5 * expected)


@torch.no_grad()
def test_a_text_head_gets_the_adapted_text_first():
    model = segmentor(text_head=True, decode_head=dict(HEAD, type='HeadWithText')).eval()
    inputs = images()
    model.loss(inputs, samples())
    torch.testing.assert_close(model.decode_head.seen, guided(model, inputs)[2])
    text, *levels = model.extract_feat(inputs)
    assert text.shape == (2, 4, 12) and len(levels) == 4
    model.predict(inputs)
    torch.testing.assert_close(model.decode_head.seen, text)


def test_autocast_in_bfloat16_is_finite_and_close():
    full = segmentor().eval().loss(images(), samples())
    model = segmentor().eval()
    with torch.autocast('cpu', torch.bfloat16):
        half = model.loss(images(), samples())
    for key in ('decode.loss_ce', 'aux_identity.loss_ce'):
        assert torch.isclose(half[key].float(), full[key], rtol=0.05), key
    (half['decode.loss_ce'] + half['aux_identity.loss_ce']).backward()
    gradients = [value.grad for value in model.parameters() if value.requires_grad]
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.autocast('cpu', torch.bfloat16):
        labels = model.predict(images())[0].pred_sem_seg.data
    expected = segmentor().eval().predict(images())[0].pred_sem_seg.data
    assert (labels == expected).float().mean() > 0.9


# Predictions ---------------------------------------------------------------------------------


@torch.no_grad()
def logits(model, inputs):
    levels, _, _ = guided(model, inputs)
    return grown(model.decode_head(model.neck(levels)), inputs.shape[2:])


def agree(labels, expected):
    return (labels == expected).float().mean() > 0.999 and len(expected.unique()) > 1


def of_size(*size, **facts):
    return SegDataSample(metainfo=dict(ori_shape=size, **facts))


def test_a_batch_gets_the_best_class_at_each_images_own_size():
    model, inputs = segmentor().eval(), images(3)
    sizes = [(64, 96), (120, 33), (50, 200)]
    found = model.predict(inputs, [of_size(*size) for size in sizes])
    for sample, scores, size in zip(found, logits(model, inputs), sizes, strict=True):
        assert agree(sample.pred_sem_seg.data, grown(scores[None], size).argmax(1))


def test_windows_run_in_batches_with_one_pass_of_the_text_tower():
    settings = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), save_logits=True)
    model, inputs = segmentor(test_cfg=settings).eval(), images(2, (96, 128))
    calls = []
    model.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    found = torch.stack([sample.seg_logits.data for sample in model.predict(inputs)])
    assert len(calls) == 1
    total, counts = torch.zeros(2, 4, 96, 128), torch.zeros(1, 1, 96, 128)
    for top in (0, 32):
        for left in (0, 32, 64):
            window = (..., slice(top, top + 64), slice(left, left + 64))
            total[window] += logits(model, inputs[window])
            counts[window] += 1
    expected = (total / counts).log_softmax(1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_an_image_smaller_than_the_window_is_run_as_it_is():
    settings = dict(mode='slide', crop_size=(128, 128), stride=(64, 64))
    model, inputs = segmentor(test_cfg=settings).eval(), images(1, (45, 70))
    (found,) = model.predict(inputs)
    assert agree(found.pred_sem_seg.data, logits(model, inputs).argmax(1))


def test_a_mirrored_image_is_mirrored_back():
    model, inputs = segmentor(test_cfg=dict(save_logits=True)).eval(), images(1)
    (plain,) = model.predict(inputs, [of_size(*SIZE)])
    facts = dict(flip=True, flip_direction='horizontal')
    (mirrored,) = model.predict(inputs, [of_size(*SIZE, **facts)])
    assert torch.equal(mirrored.pred_sem_seg.data, plain.pred_sem_seg.data.flip(2))
    assert torch.equal(mirrored.seg_logits.data, plain.seg_logits.data.flip(2))


def test_asked_for_words_pick_their_scores_in_their_order():
    model, inputs = segmentor().eval(), images()
    expected = logits(model, inputs)[:, [3, 0, 2]].argmax(1)
    model.set_vocabulary('sky; cat; wall')
    found = torch.cat([sample.pred_sem_seg.data for sample in model.predict(inputs)])
    assert agree(found, expected)
    with pytest.raises(UserError, match=r"this DenseCLIP was trained for 4 .*'dog' is none"):
        model.set_vocabulary('sky; dog')


def test_a_step_of_training_changes_the_next_prediction():
    model, inputs = segmentor(test_cfg=dict(save_logits=True)).eval(), images(1)
    model.predict(inputs)
    before = model.text_encoder(model.tokens, model.contexts)
    losses = model.train().loss(images(), samples())
    (losses['decode.loss_ce'] + losses['aux_identity.loss_ce']).backward()
    trained = [value for value in model.parameters() if value.requires_grad]
    torch.optim.AdamW(trained, lr=0.01).step()
    (found,) = model.eval().predict(inputs)
    expected = logits(model, inputs)[0].softmax(0)
    torch.testing.assert_close(found.seg_logits.data.exp(), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model.text_encoder(model.tokens, model.contexts), before, rtol=0.01)


def test_an_exported_model_predicts_equally_without_text_encoder():
    model, inputs = segmentor(test_cfg=dict(save_logits=True)).eval(), images()
    exported = segmentor(test_cfg=dict(save_logits=True), text_encoder=None).eval()
    state = model.state_without_text_encoder()
    load_state_strict(exported, state, 'exported.pth')
    pairs = zip(model.predict(inputs), exported.predict(inputs), strict=True)
    for ours, theirs in pairs:
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)


# Start and settings --------------------------------------------------------------------------


def test_pretrained_fills_both_towers_unless_they_name_their_own():
    embedded = dict(model='tiny_clip_scenes', pretrained='embedded')
    settings = dict(
        backbone=dict(
            VIT, patch_size=8, width=128, layers=3, out_indices=(0, 1, 2, 2), output_dim=128
        ),
        text_encoder=dict(TEXT, transformer_width=96, transformer_layers=2, embed_dim=128),
        context_decoder=dict(DECODER, visual_dim=128),
        neck=dict(NECK, in_channels=[128, 132, 128, 128]),
        token_embed_dim=96,
        text_dim=128,
        score_concat_index=1,
    )
    given, random = segmentor(**settings, pretrained=embedded), segmentor(**settings)
    for model in (given, random):
        model.init_weights()
    own = dict(settings, text_encoder=dict(settings['text_encoder'], pretrained=None))
    half = segmentor(**own, pretrained=embedded)
    half.init_weights()
    assert torch.equal(half.backbone.conv1.weight, given.backbone.conv1.weight)
    assert torch.equal(half.text_encoder.text_projection, random.text_encoder.text_projection)
    assert not torch.equal(given.backbone.conv1.weight, random.backbone.conv1.weight)
    assert not torch.equal(given.text_encoder.text_projection, half.text_encoder.text_projection)


def test_checkpoints_hold_no_tokens_and_no_identity_head():
    keys = segmentor().state_dict()
    roots = {key.split('.')[0] for key in keys}
    assert roots == {
        *('contexts', 'gamma', 'backbone', 'text_encoder', 'context_decoder'),
        *('neck', 'decode_head'),
    }


def test_wrong_widths_of_the_neck_say_what_the_levels_have():
    model = segmentor(False, neck=dict(NECK, in_channels=[32, 64, 128, 256]))
    with pytest.raises(UserError) as caught:
        model.loss(images(), samples())
    assert str(caught.value) == (
        'model.neck.in_channels is [32, 64, 128, 256], but the levels have [32, 64, 128, 260] '
        'channels: level 3 counts one for each of the 4 classes'
    )


def test_a_level_of_another_grid_is_refused():
    model = segmentor(False, score_concat_index=2)
    with pytest.raises(UserError, match='score_concat_index=2, .*set it to 3'):
        model.loss(images(), samples())


def test_align_corners_are_refused():
    with pytest.raises(UserError, match='align_corners is True, .* to False'):
        segmentor(decode_head=dict(HEAD, align_corners=True))


def test_a_backbone_without_text_space_is_refused_with_a_sentence():
    backbone = dict(type='CLIPResNet', layers=(1, 1, 1, 1), width=8)
    with pytest.raises(UserError, match='model.backbone gives no embeddings in the text space'):
        segmentor(False, backbone=backbone).loss(images(), samples())


def test_the_protocol_says_what_was_run():
    facts = segmentor().protocol()
    assert facts['model'] == 'DenseCLIP' and facts['backbone'] == 'CLIPResNetWithAttention'
    assert (facts['prompting'], facts['tau']) == ('post', 0.07)
