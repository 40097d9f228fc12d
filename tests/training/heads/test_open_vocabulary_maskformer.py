from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.encoders.ovseg_format import to_ovseg
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.training.heads import OpenVocabularyMaskFormer
from ovseg.training.heads.open_vocabulary_maskformer import class_masks

CHANNELS, EMBED, QUERIES, LAYERS, HEADS, HIDDEN = (4, 6, 8, 10), 12, 7, 3, 2, 16
SIZE = (64, 96)
SETTINGS = dict(
    in_channels=CHANNELS,
    embed_dim=EMBED,
    num_queries=QUERIES,
    feat_channels=8,
    mask_channels=20,
    hidden_channels=HIDDEN,
    num_heads=HEADS,
    feedforward_channels=24,
    num_layers=LAYERS,
    class_channels=18,
    norm_groups=2,
)


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = OpenVocabularyMaskFormer(**SETTINGS)
    for value in head.parameters():  # biases and norms away from 0 and 1
        nn.init.normal_(value, std=0.3)
    return head


@pytest.fixture
def features():
    torch.manual_seed(1)
    sides = [(SIZE[0] // stride, SIZE[1] // stride) for stride in (4, 8, 16, 32)]
    return [torch.randn(2, c, *side) for c, side in zip(CHANNELS, sides, strict=True)]


def words(count):
    torch.manual_seed(2)
    return F.normalize(torch.randn(count, EMBED), dim=-1)


def samples(*maps):
    return [SimpleNamespace(gt_sem_seg=SimpleNamespace(data=map_[None])) for map_ in maps]


def label_map(*classes):
    """Columns of equal width, one a class."""
    columns = torch.arange(SIZE[1]) * len(classes) // SIZE[1]
    return torch.tensor(classes)[columns].expand(SIZE[0], -1).clone()


# The formulas of MaskFormer in plain torch, by the published names ---------------------------


def attend(state, name, query, key, value):
    """Multi-head attention (B, N, C) -> (B, N, C)."""
    weights = zip(
        state[f'{name}.in_proj_weight'].chunk(3),
        state[f'{name}.in_proj_bias'].chunk(3),
        (query, key, value),
        strict=True,
    )
    q, k, v = (F.linear(x, w, b).unflatten(-1, (HEADS, -1)).transpose(1, 2) for w, b, x in weights)
    mixed = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
    joined = mixed.transpose(1, 2).flatten(2)
    return F.linear(joined, state[f'{name}.out_proj.weight'], state[f'{name}.out_proj.bias'])


def affine(state, name, x, function=F.linear, **settings):
    return function(x, state[f'{name}.weight'], state[f'{name}.bias'], **settings)


def layer_norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'])


def grouped(state, name, x, padding):
    x = F.conv2d(x, state[f'{name}.weight'], padding=padding)
    norm = state[f'{name}.norm.weight'], state[f'{name}.norm.bias']
    return F.group_norm(x, SETTINGS['norm_groups'], *norm)


def sine_positions(height, width, channels):
    """(height * width, channels): half of the channels for y, half for x."""
    powers = 10000 ** (2 * torch.arange(channels // 4) / (channels // 2))

    def axis(length):
        angles = torch.arange(1, length + 1) / (length + 1e-6) * 2 * math.pi / powers[:, None]
        return torch.stack([angles.sin(), angles.cos()], 1).flatten(0, 1).T

    y = axis(height)[:, None].expand(-1, width, -1)
    x = axis(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], -1).flatten(0, 1)


def mlp(state, name, x, layers):
    for index in range(layers):
        x = affine(state, f'{name}.layers.{index}', x)
        x = x.relu() if index < layers - 1 else x
    return x


def plain_maskformer(state, features):
    """Embeddings (L, B, Q, E) and mask logits (L, B, Q, h, w)."""
    y = grouped(state, 'pixel_decoder.layer_4', features[3], 1).relu()
    for level in (3, 2, 1):
        lateral = grouped(state, f'pixel_decoder.adapter_{level}', features[level - 1], 0)
        y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode='nearest')
        y = grouped(state, f'pixel_decoder.layer_{level}', y, 1).relu()
    mask_features = affine(state, 'pixel_decoder.mask_features', y, F.conv2d, padding=1)
    memory = affine(state, 'predictor.input_proj', features[3], F.conv2d)
    position = sine_positions(*memory.shape[-2:], HIDDEN)
    memory = memory.flatten(2).mT
    place = state['predictor.query_embed.weight']
    x = torch.zeros(len(memory), *place.shape)
    embeddings, masks = [], []
    for index in range(LAYERS):
        name = f'predictor.transformer.decoder.layers.{index}'
        x = layer_norm(
            state, f'{name}.norm1', x + attend(state, f'{name}.self_attn', x + place, x + place, x)
        )
        seen = attend(state, f'{name}.multihead_attn', x + place, memory + position, memory)
        x = layer_norm(state, f'{name}.norm2', x + seen)
        inner = affine(state, f'{name}.linear1', x).relu()
        x = layer_norm(state, f'{name}.norm3', x + affine(state, f'{name}.linear2', inner))
        hidden = layer_norm(state, 'predictor.transformer.decoder.norm', x)
        embeddings.append(mlp(state, 'predictor.class_embed', hidden, 2))
        queries = mlp(state, 'predictor.mask_embed', hidden, 3)
        masks.append(torch.einsum('bqc,bchw->bqhw', queries, mask_features))
    return torch.stack(embeddings), torch.stack(masks)


def test_proposals_are_those_of_the_formulas_with_the_published_weights(head, features):
    state = to_ovseg({f'proposals.{name}': value for name, value in head.state_dict().items()})
    state = {name.removeprefix('sem_seg_head.'): value for name, value in state.items()}
    embeddings, masks = plain_maskformer(state, features)
    with torch.no_grad():
        proposals = head.eval()(features, SIZE)
    torch.testing.assert_close(proposals.embeddings, embeddings[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(proposals.mask_logits, masks[-1], rtol=1e-4, atol=1e-4)


def test_class_scores_are_cosines_times_100_with_no_object_last(head):
    embeddings, text = torch.randn(2, QUERIES, EMBED), words(4)
    logits = head.classify(embeddings, text)
    rows = torch.cat([text, head.non_object_embedding])
    wanted = 100 * F.cosine_similarity(embeddings[..., None, :], rows, dim=-1)
    assert logits.shape == (2, QUERIES, 5)
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-4)


def test_proposals_of_a_batch_come_at_a_quarter_of_the_padded_size(head, features):
    with torch.no_grad():
        proposals = head.eval()(features, SIZE)
    assert proposals.mask_logits.shape == (2, QUERIES, SIZE[0] // 4, SIZE[1] // 4)
    assert head.classify(proposals.embeddings, words(3)).shape == (2, QUERIES, 4)


def test_the_number_of_words_may_differ_between_calls(head, features):
    for count in (2, 5):
        losses = head.loss(features, words(count), samples(label_map(0, 1), label_map(1, 1)))
        assert all(torch.isfinite(value) and value.ndim == 0 for value in losses.values())


def test_every_layer_is_supervised_and_every_parameter_learns(head, features):
    losses = head.loss(features, words(3), samples(label_map(0, 2), label_map(1, 255)))
    parts = ('loss_cls', 'loss_mask', 'loss_dice')
    earlier = {f'd{layer}.{part}' for layer in range(LAYERS - 1) for part in parts}
    assert set(losses) == {*parts, *earlier}
    sum(losses.values()).backward()
    assert all(value.grad is not None for value in head.parameters())
    assert head.non_object_embedding.grad.abs().sum() > 0


def perfect(count):
    """One layer, one image: query q is class q on the q-th column, the others are nothing."""
    target = class_masks(label_map(*range(count)))
    logits = torch.zeros(1, 1, QUERIES, count + 1)
    logits[..., -1] = 40.0
    masks = torch.full((1, 1, QUERIES, SIZE[0] // 4, SIZE[1] // 4), -20.0)
    for query in range(count):
        logits[0, 0, query, -1], logits[0, 0, query, query] = 0.0, 40.0
        small = F.interpolate(target.masks[None, query : query + 1].float(), masks.shape[-2:])
        masks[0, 0, query] = 40 * small[0, 0] - 20
    return logits, masks, target


def test_losses_vanish_where_the_predictions_are_right(head):
    losses = head.losses(*perfect(4)[:2], [perfect(4)[2]])
    assert losses['loss_cls'] < 1e-6
    # Upsampled edges between columns stay soft.
    assert losses['loss_mask'] < 0.2 and losses['loss_dice'] < 0.1


def test_no_object_weighs_a_tenth(head):
    """A weighted mean of the cross entropies of 3 right queries and of 4 undecided ones."""
    logits, masks, target = perfect(3)
    logits[0, 0, 3:] = 0.0
    loss = head.losses(logits, masks, [target])['loss_cls']
    wanted = 0.1 * 4 * math.log(4) / (3 + 0.1 * 4)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_mask_losses_are_divided_by_all_classes_also_where_queries_are_too_few(head):
    """As published; mmdet divides by the matched ones."""
    logits, masks, target = perfect(QUERIES)
    more = QUERIES + 1
    wide = torch.cat([logits, logits[..., -1:]], dim=-1)
    one = head.losses(wide, masks, [target])
    crowded = class_masks(label_map(*range(more)))
    crowded.masks[:QUERIES] = target.masks  # the same matched pairs, and one without a query
    crowded.masks[QUERIES] = target.masks[0] * 0
    two = head.losses(wide, masks, [crowded])
    for name in ('loss_mask', 'loss_dice'):
        assert (two[name] / one[name]).item() == pytest.approx(QUERIES / more, rel=1e-5)


def test_an_image_without_labels_teaches_no_object_only(head, features):
    losses = head.loss(features, words(3), samples(label_map(255), label_map(255)))
    assert losses['loss_mask'] == losses['loss_dice'] == 0
    assert losses['loss_cls'] > 0


def test_classes_of_a_label_map_are_ascending_and_one_mask_each():
    target = class_masks(torch.tensor([[7, 255, 2], [2, 7, 7]], dtype=torch.uint8))
    assert target.labels.tolist() == [2, 7]
    assert target.masks.tolist() == [[[0, 0, 1], [1, 0, 0]], [[1, 0, 0], [0, 1, 1]]]


def test_initial_weights_reach_every_convolution():
    """mmdet leaves out the coarsest pair; the reference initialises all alike."""
    torch.manual_seed(0)
    head = OpenVocabularyMaskFormer(**{**SETTINGS, 'feat_channels': 64})
    convolutions = [
        convolution.conv.weight
        for convolutions in (head.pixel_decoder.lateral_convs, head.pixel_decoder.output_convs)
        for convolution in convolutions
    ]
    for weight in convolutions:
        nn.init.zeros_(weight)
    head.init_weights()
    for weight in convolutions:
        bound = math.sqrt(3 / weight[0].numel())
        assert weight.abs().max().item() == pytest.approx(bound, rel=0.05)
    wide = OpenVocabularyMaskFormer(**{**SETTINGS, 'embed_dim': 4096})
    assert wide.non_object_embedding.std().item() == pytest.approx(4096**-0.5, rel=0.1)


def test_a_config_builds_it_by_name():
    assert isinstance(
        MODELS.build({'type': 'OpenVocabularyMaskFormer', '_scope_': 'ovseg', **SETTINGS}),
        OpenVocabularyMaskFormer,
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'in_channels': (4, 6, 8)}, 'in_channels has 3 numbers'),
        ({'norm_groups': 3}, 'feat_channels=8 cannot be divided by 3'),
        ({'num_heads': 3}, 'hidden_channels=16 cannot be divided by 3'),
        ({'hidden_channels': 18}, 'hidden_channels=18 cannot be divided by 4'),
    ],
)
def test_settings_that_do_not_fit_are_named(change, message):
    with pytest.raises(UserError, match=message):
        OpenVocabularyMaskFormer(**{**SETTINGS, **change})


def test_what_does_not_fit_at_call_time_is_named(head, features):
    with pytest.raises(UserError, match='first of 16 x 24 for images of 128 x 96'):
        head(features, (128, 96))
    with pytest.raises(UserError, match='3 levels came'):
        head(features[:3], SIZE)
    with pytest.raises(UserError, match='5 channels, but proposals.embed_dim is 12'):
        head.classify(torch.randn(1, EMBED), torch.randn(2, 5))
    with pytest.raises(UserError, match='hold class 4, but there are words for 3 classes'):
        head.loss(features, words(3), samples(label_map(0), label_map(4)))


def test_the_count_of_classes_is_averaged_over_processes(head, monkeypatch):
    logits, masks, target = perfect(4)
    alone = head.losses(logits, masks, [target])
    # What all processes together give where the others have three times as many classes.
    monkeypatch.setattr(
        'mmdet.models.dense_heads.maskformer_head.reduce_mean', lambda count: 2 * count
    )
    together = head.losses(logits, masks, [target])
    for name in ('loss_mask', 'loss_dice'):
        assert (together[name] / alone[name]).item() == pytest.approx(0.5)
    assert together['loss_cls'] == alone['loss_cls']


def test_losses_are_measured_in_single_precision_under_autocast(head):
    logits, masks, target = perfect(4)
    half = masks.to(torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        found = head.losses(logits, half, [target])
    wanted = head.losses(logits, half.float(), [target])
    for name, value in wanted.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], value)
