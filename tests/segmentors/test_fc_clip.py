from __future__ import annotations

import pytest
import tiny_fcclip
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.regions.void_ensemble import geometric_ensemble
from ovseg.training.losses.collaborative import mask_aware_loss

BUILDS = {
    'fcclip': ('FCCLIP', {}),
    'maftplus': ('MAFTPlus', {'transfer': {'num_heads': 2}, 'teacher': True}),
}


@pytest.fixture(scope='module')
def models():
    return {name: tiny_fcclip.build(kind, **more) for name, (kind, more) in BUILDS.items()}


@pytest.fixture(params=list(BUILDS))
def model(request, models):
    return models[request.param]


def sample(*labels):
    masks = torch.zeros(len(labels), *tiny_fcclip.SIZE)
    for number in range(len(labels)):
        masks[number, 8 * number : 8 * number + 16, 10:60] = 1
    found = SegDataSample()
    found.gt_instances = InstanceData(labels=torch.tensor(labels), masks=masks)
    return found


def probabilities(model):
    (encoding,) = model.encode(Images(tiny_fcclip.images()))
    return model.class_probabilities(encoding, model.classifier)


# Words ---------------------------------------------------------------------------------------


def test_classes_and_void_share_one_whole(model):
    found = probabilities(model)
    assert found.shape == (6, 5)
    torch.testing.assert_close(found.sum(1), torch.ones(6))


def test_classes_in_another_order_get_the_same_scores(model):
    wanted, order = probabilities(model), [2, 0, 3, 1]
    model.set_vocabulary([tiny_fcclip.WORDS[label] for label in order])
    try:
        torch.testing.assert_close(probabilities(model), wanted[:, [*order, 4]])
    finally:
        model.set_vocabulary(tiny_fcclip.WORDS)


def test_only_words_that_equal_one_of_the_training_are_seen(models):
    model = models['fcclip']
    assert model.classifier.seen == (True, False, True, False)


def test_an_ensemble_of_impossible_classes_is_no_nan():
    first, second = torch.tensor([0.0, -float('inf'), 1.0]), torch.tensor([0.0, -400.0])
    for weight in (0.0, 0.5, 1.0):
        found = geometric_ensemble(first, second, torch.full((2,), weight))
        assert torch.isfinite(found).all() and found.sum() == pytest.approx(1)


# Training ------------------------------------------------------------------------------------


def test_what_trains_has_gradients_and_nothing_else_has(model):
    model.train()
    losses = model.loss(tiny_fcclip.images(2).repeat(1, 1, 2, 2)[:, :, :64, :128], wide(2))
    sum(losses.values()).backward()
    model.eval()
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    moved = {name for name, value in model.named_parameters() if value.grad is not None}
    assert moved == trained
    in_clip = {name.split('.')[3] for name in trained if name.startswith('clip.')}
    assert in_clip == ({'stem', 'stages'} if hasattr(model, 'teacher') else set())


def wide(count):
    found = [sample(0, 2) for _ in range(count)]
    for each in found:
        masks = each.gt_instances.masks
        each.gt_instances.masks = torch.nn.functional.pad(masks, (0, 32))
    return found


def test_images_without_any_target_train():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    none = InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=torch.zeros(0, 8, 8))
    loss = mask_aware_loss(logits, torch.randn(1, 3, 4, 4), [none])
    loss.backward()
    assert loss == 0


def test_tuning_without_a_teacher_says_what_to_set():
    model = tiny_fcclip.build('MAFTPlus', transfer={'num_heads': 2})
    with pytest.raises(UserError, match=r'model\.teacher=True'):
        model.loss(tiny_fcclip.images(), [sample(0)])


# Files ---------------------------------------------------------------------------------------


def test_a_published_file_and_one_of_ours_bring_the_same_model(model, tmp_path):
    torch.save({'model': model.to_published()}, tmp_path / 'published.pth')
    name = 'maftplus' if hasattr(model, 'teacher') else 'fcclip'
    kind, more = BUILDS[name]
    torch.manual_seed(5)
    other = tiny_fcclip.build(kind, **{**more, 'vocabulary': tiny_fcclip.WORDS})
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.1)
    load_checkpoint_strict(other, tmp_path / 'published.pth')
    torch.testing.assert_close(probabilities(other), probabilities(model))
    again = other.to_published()
    assert again.keys() == model.to_published().keys()


def test_a_key_of_no_format_is_named(models, tmp_path):
    state = {**models['fcclip'].to_published(), 'sem_seg_head.novelty': torch.zeros(1)}
    torch.save({'model': state}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match=r'sem_seg_head\.novelty'):
        load_checkpoint_strict(models['fcclip'], tmp_path / 'other.pth')
