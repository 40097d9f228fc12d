from __future__ import annotations

import math

import pytest
import tiny_ovseg
import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmseg.structures import SegDataSample
from tiny_mask_heads import (
    EMBED,
    LAYERS,
    QUERIES,
    SIZE,
    build,
    label_map,
    levels,
    samples,
    words,
)
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.training.heads.text_queries import class_masks


@pytest.fixture(params=['maskformer', 'mask2former'])
def head(request):
    return build(request.param)


@pytest.fixture
def features():
    return levels()


# Images --------------------------------------------------------------------------------------


def test_class_scores_are_scaled_cosines_with_no_object_last(head):
    embeddings, text = torch.randn(2, QUERIES, EMBED), words(4)
    logits = head.classify(embeddings, text)
    rows = torch.cat([text, head.non_object_embedding])
    scale = 1 / 0.07 if hasattr(head, 'logit_scale') else 100
    wanted = scale * F.cosine_similarity(embeddings[..., None, :], rows, dim=-1)
    assert logits.shape == (2, QUERIES, 5)
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_each_row_is_scored_by_itself(head, features):
    embeddings, order = head.eval()(features, SIZE).embeddings, [2, 0, 3, 1]
    scores = head.classify(embeddings, words(4))
    permuted = head.classify(embeddings, words(4)[order])
    torch.testing.assert_close(permuted, scores[..., [*order, 4]])


@torch.no_grad()
def test_proposals_are_the_last_layer_at_a_quarter_of_the_padded_size(head, features):
    proposals = head.eval()(features, SIZE)
    assert proposals.mask_logits.shape == (2, QUERIES, SIZE[0] // 4, SIZE[1] // 4)
    assert proposals.embeddings.shape == (2, QUERIES, EMBED)
    embeddings, mask_logits = head.forward_layers(features)
    assert len(embeddings) == len(mask_logits) == LAYERS
    torch.testing.assert_close(proposals.embeddings, embeddings[-1])
    torch.testing.assert_close(proposals.mask_logits, mask_logits[-1])


@torch.no_grad()
def test_the_masks_of_mask2former_are_those_of_mmdet(features):
    """With the text side taken away: mmdet's own head with the same weights, its scores aside."""
    head = build('mask2former').eval()
    plain = build('mask2former').eval()
    plain.cls_embed = torch.nn.Linear(head.decoder_embed_dims, 3)
    _, masks = Mask2FormerHead.forward(plain, features, [])
    torch.testing.assert_close(head(features, SIZE).mask_logits, masks[-1])


@torch.no_grad()
def test_a_mask2former_stands_where_the_maskformer_stood():
    """The segmentor of the two classifiers takes it from its config: masks, words, other words."""
    proposals = dict(
        type='WordsMask2Former', in_channels=[8, 16, 32, 64], embed_dim=24, num_queries=6
    )
    model = tiny_ovseg.build(proposals=proposals)
    data = dict(
        inputs=[torch.randint(256, (3, 50, 70), dtype=torch.uint8)],
        data_samples=[SegDataSample(metainfo=dict(ori_shape=(40, 56), img_shape=(50, 70)))],
    )
    data = model.data_preprocessor(data, False)
    for words_asked in (tiny_ovseg.WORDS, 'moon; desk'):
        model.set_vocabulary(words_asked)
        (found,) = model.predict(**data)
        assert found.pred_sem_seg.data.shape == (1, 40, 56)
        assert found.pred_sem_seg.data.max() < len(words_asked.split(';'))


# Training ------------------------------------------------------------------------------------


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


def test_some_steps_bring_the_losses_down(head, features):
    given = features, words(3), samples(label_map(0, 2), label_map(1, 255))
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    history = []
    for _ in range(8):
        torch.manual_seed(3)  # dropout, and the points at which Mask2Former measures
        total = sum(head.loss(*given).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.85 * history[0]


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


def losses_of(head, logits, masks, target):
    torch.manual_seed(4)  # the points at which Mask2Former measures
    return head.losses(logits, masks, [target])


def test_losses_vanish_where_the_predictions_are_right(head):
    right = losses_of(head, *perfect(4))
    assert right['loss_cls'] < 1e-6
    logits, masks, target = perfect(4)
    wrong = losses_of(head, logits, -masks, target)
    # Upsampled edges between columns stay soft.
    assert right['loss_mask'] < 0.1 * wrong['loss_mask']
    assert right['loss_dice'] < 0.1 * wrong['loss_dice']


def test_no_object_weighs_a_tenth(head):
    """A weighted mean of the cross entropies of 3 right queries and of 4 undecided ones."""
    logits, masks, target = perfect(3)
    logits[0, 0, 3:] = 0.0
    loss = losses_of(head, logits, masks, target)['loss_cls'] / head.loss_cls.loss_weight
    wanted = 0.1 * 4 * math.log(4) / (3 + 0.1 * 4)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_mask_losses_are_divided_by_all_classes_also_where_queries_are_too_few(head):
    """As published; mmdet divides by the matched ones."""
    logits, masks, target = perfect(QUERIES)
    more = QUERIES + 1
    wide = torch.cat([logits, logits[..., -1:]], dim=-1)
    one = losses_of(head, wide, masks, target)
    crowded = class_masks(label_map(*range(more)))
    crowded.masks[:QUERIES] = target.masks  # the same matched pairs, and one without a query
    crowded.masks[QUERIES] = target.masks[0] * 0
    two = losses_of(head, wide, masks, crowded)
    for name in ('loss_mask', 'loss_dice'):
        assert (two[name] / one[name]).item() == pytest.approx(QUERIES / more, rel=1e-5)


def test_an_image_without_labels_teaches_no_object_only(head, features):
    losses = head.loss(features, words(3), samples(label_map(255), label_map(255)))
    assert losses['loss_mask'] == losses['loss_dice'] == 0
    assert losses['loss_cls'] > 0


def test_the_count_of_classes_is_averaged_over_processes(head, monkeypatch):
    given = perfect(4)
    alone = losses_of(head, *given)
    # What all processes together give where the others have three times as many classes.
    for module in ('maskformer_head', 'mask2former_head'):
        name = f'mmdet.models.dense_heads.{module}.reduce_mean'
        monkeypatch.setattr(name, lambda count: 2 * count)
    together = losses_of(head, *given)
    for name in ('loss_mask', 'loss_dice'):
        assert (together[name] / alone[name]).item() == pytest.approx(0.5)
    assert together['loss_cls'] == alone['loss_cls']


def test_losses_are_measured_in_single_precision_under_autocast(head):
    logits, masks, target = perfect(4)
    half = masks.to(torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        found = losses_of(head, logits, half, target)
    wanted = losses_of(head, logits, half.float(), target)
    for name, value in wanted.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], value)


def test_classes_of_a_label_map_are_ascending_and_one_mask_each():
    target = class_masks(torch.tensor([[7, 255, 2], [2, 7, 7]], dtype=torch.uint8))
    assert target.labels.tolist() == [2, 7]
    assert target.masks.tolist() == [[[0, 0, 1], [1, 0, 0]], [[1, 0, 0], [0, 1, 1]]]


# Errors --------------------------------------------------------------------------------------


def test_what_does_not_fit_at_call_time_is_named(head, features):
    with pytest.raises(UserError, match='first of 16 x 24 for images of 128 x 96'):
        head(features, (128, 96))
    with pytest.raises(UserError, match='3 levels came .* so that 4 come'):
        head(features[:3], SIZE)
    with pytest.raises(UserError, match='5 channels, but proposals.embed_dim is 12'):
        head.classify(torch.randn(1, EMBED), torch.randn(2, 5))
    with pytest.raises(UserError, match='hold class 4, but there are words for 3 classes'):
        head.loss(features, words(3), samples(label_map(0), label_map(4)))
