"""Self-distillation: DINO's loss, a teacher that follows, schedules that survive a resume."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from short_trainings import train

from ovseg.encoders.tiny_dino import build_tiny_dino
from ovseg.errors import UserError
from ovseg.scenes.self_distillation import (
    PrototypeHead,
    SelfDistillation,
    cosine_between,
    distillation_loss,
    information,
    sinkhorn,
)

CONFIG = ROOT / 'configs/tiny_dino/dino_scenes.py'
VIT = dict(
    img_size=16,
    patch_size=8,
    embed_dim=16,
    depth=2,
    num_heads=2,
    num_classes=0,
    dynamic_img_size=True,
)


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def small_model(**changes):
    torch.manual_seed(0)
    settings = dict(vit=VIT, iterations=10, head=dict(prototypes=12, hidden=16, bottleneck=8))
    return SelfDistillation(**{**settings, **changes})


def crops(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        'global_crops': torch.randint(
            0, 256, (batch, 2, 3, 16, 16), dtype=torch.uint8, generator=generator
        ),
        'local_crops': torch.randint(
            0, 256, (batch, 3, 3, 8, 8), dtype=torch.uint8, generator=generator
        ),
    }


def small_config(work_dir, iterations=6):
    config = Config.fromfile(CONFIG)
    config.work_dir = str(work_dir)
    config.model.vit.update(img_size=16, embed_dim=16, depth=2, num_heads=2)
    config.model.update(iterations=iterations, warm_up=4, frozen_prototypes=2)
    config.model.head.update(prototypes=16, hidden=16, bottleneck=8)
    config.train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.update(
        num_views=4 * iterations, view=24, global_size=16, local_size=8, num_local=2
    )
    config.train_cfg.max_iters = iterations
    for schedule in config.param_scheduler:
        schedule.update(begin=0, end=iterations)
        if 'T_max' in schedule:
            schedule.T_max = iterations
    config.default_hooks.checkpoint.update(interval=iterations // 2, max_keep_ckpts=-1)
    config.default_hooks.logger.interval = 1
    config.log_level = 'ERROR'
    return config


def test_the_loss_is_that_of_a_loop_over_pairs_of_crops():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 4, 7, generator=generator)
    teacher = torch.randn(2, 4, 7, generator=generator)
    terms = []
    for g in range(2):
        for v in range(5):
            if v != g:
                for image in range(4):
                    target = teacher[g, image].softmax(0)
                    terms.append(-(target * student[v, image].softmax(0).log()).sum())
    torch.testing.assert_close(
        distillation_loss(student, teacher.softmax(2)), torch.stack(terms).mean()
    )


def test_a_crop_is_not_compared_with_itself():
    # Only the two global crops: each is told what the other one shows, never what it shows.
    logits = 50 * torch.eye(2, 4)[:, None, :]
    targets = logits.softmax(2)
    assert distillation_loss(logits, targets) > 10
    assert distillation_loss(logits.flip(0), targets) < 1e-3


def test_sinkhorn_uses_all_prototypes_alike():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6, 3, generator=generator) + torch.tensor([5.0, 0.0, 0.0])
    assert logits.softmax(1).sum(0)[0] > 2.9
    targets = sinkhorn(logits, rounds=50)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    torch.testing.assert_close(targets.sum(0), torch.full((3,), 2.0), rtol=0, atol=0.01)
    # A constant over the batch says nothing about a picture, and is taken out.
    torch.testing.assert_close(sinkhorn(logits + torch.tensor([0.0, 9.0, 0.0]), 50), targets)


def test_balancing_by_sinkhorn_leaves_the_center_alone():
    model = small_model(balance='sinkhorn').eval()
    batch = crops()
    with torch.no_grad():
        outputs = model._logits(model.teacher, model._pixels(batch['global_crops']))
        student = torch.cat(
            [model._logits(model.student, model._pixels(x)) for x in batch.values()]
        )
    targets = sinkhorn(outputs.flatten(0, 1) / 0.07).unflatten(0, (2, 3))
    torch.testing.assert_close(model(**batch)['loss'], distillation_loss(student / 0.1, targets))
    assert not model.center.any()


def test_information_tells_both_kinds_of_collapse():
    assert information(torch.full((5, 8), 1 / 8)).item() == pytest.approx(0, abs=1e-6)
    assert information(torch.eye(8)[[3] * 5]).item() == pytest.approx(0, abs=1e-6)
    assert information(torch.eye(8)[:5]).item() == pytest.approx(math.log(5), abs=1e-6)


def test_the_momentum_rises_along_a_half_cosine():
    values = [cosine_between(0.9, 1.0, step, 10) for step in range(12)]
    assert values[0] == pytest.approx(0.9)
    assert values[5] == pytest.approx(0.95)
    assert values[10] == values[11] == 1.0
    assert values == sorted(values)


def test_the_teacher_is_the_moving_average_of_the_student():
    model = small_model(momentum=0.9)
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1.0)
    model.step.fill_(5)
    before = [p.clone() for p in model.teacher.parameters()]
    model.update_teacher()
    for old, new, student in zip(
        before, model.teacher.parameters(), model.student.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.95 * old + 0.05 * student)
    assert model.step == 6


def test_the_center_is_the_running_mean_of_the_teachers_outputs():
    model = small_model(center_momentum=0.75).eval()
    batch = crops()
    outputs = model._logits(model.teacher, model._pixels(batch['global_crops']))
    model(**batch)
    torch.testing.assert_close(model.center, 0.25 * outputs.flatten(0, 1).mean(0))
    first = model.center.clone()
    model(**batch)
    torch.testing.assert_close(model.center, 0.75 * first + 0.25 * outputs.flatten(0, 1).mean(0))


def test_the_center_is_taken_from_the_targets():
    model, batch = small_model(), crops()
    with torch.no_grad():
        plain = model._logits(model.teacher, model._pixels(batch['global_crops']))
    model.center.copy_(torch.linspace(-0.2, 0.2, 12))
    student = torch.cat([model._logits(model.student, model._pixels(x)) for x in batch.values()])
    expected = distillation_loss(student / 0.1, ((plain - model.center) / 0.07).softmax(2))
    torch.testing.assert_close(model(**batch)['loss'], expected)


def test_no_gradient_reaches_the_teacher():
    model = small_model()
    model(**crops())['loss'].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.student.parameters())


def test_prototypes_wait_before_they_learn():
    model = small_model(frozen_prototypes=2)
    for step, learns in ((0, False), (1, False), (2, True)):
        model.step.fill_(step)
        model.zero_grad()
        model(**crops())['loss'].backward()
        assert (model.student['head'].prototypes.grad is not None) == learns
        assert model.student['head'].mlp[0].weight.grad.abs().max() > 0


def test_the_teachers_temperature_rises_and_stays():
    model = small_model(teacher_temperature=(0.04, 0.08), warm_up=4)
    values = []
    for step in range(6):
        model.step.fill_(step)
        values.append(model._temperature())
    assert values == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.08, 0.08])


def test_the_length_of_prototypes_and_points_changes_nothing():
    head = PrototypeHead(6, prototypes=5, hidden=8, bottleneck=4)
    tokens = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    first = head(tokens)
    assert first.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(7)
    torch.testing.assert_close(head(tokens), first)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(iterations=0), UserError, 'model.iterations must be above 0, got 0'),
        (dict(balance='centre'), UserError, "Did you mean 'center'"),
        (dict(mode='predict'), ValueError, "the mode 'loss' only"),
    ],
)
def test_wrong_use_is_explained(change, error, message):
    mode = change.pop('mode', 'loss')
    with pytest.raises(error, match=message):
        small_model(**change)(**crops(), mode=mode)


def test_training_through_the_runner_does_not_collapse(tmp_path):
    config = small_config(tmp_path, iterations=40)
    config.train_dataloader.batch_size = 16
    config.train_dataloader.dataset.num_views = 16 * 40
    config.model.momentum = 0.99
    config.optim_wrapper.optimizer.lr = 5e-4
    runner = train(config, 'learn')
    values, _ = runner.message_hub.get_scalar('train/information').data
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert min(values) > 0.3
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.3


def test_weight_decay_rises_for_weights_alone(tmp_path):
    runner = train(small_config(tmp_path), 'decay')
    decays = [group['weight_decay'] for group in runner.optim_wrapper.optimizer.param_groups]
    assert min(decays) == 0.0
    assert max(decays) == pytest.approx(0.4, rel=0.2)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    config = small_config(tmp_path / 'whole')
    whole = train(config, 'whole')
    config.work_dir = str(tmp_path / 'resumed')
    resumed = train(
        config, 'resumed', resume=True, load_from=str(tmp_path / 'whole' / 'iter_3.pth')
    )
    assert resumed.iter == whole.iter == int(whole.model.step) == 6
    states = whole.model.state_dict(), resumed.model.state_dict()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_the_teacher_is_exported_and_loads(tmp_path):
    config = small_config(tmp_path / 'run', iterations=2)
    runner = train(config, 'export')
    config.dump(tmp_path / 'config.py')
    export = load_script('export')
    arguments = ['tiny-dino', str(tmp_path / 'run' / 'iter_2.pth'), str(tmp_path / 'out' / 'mine')]
    assert export.main([*arguments, '--config', str(tmp_path / 'config.py')]) == 0
    vit, mean, std = build_tiny_dino('mine', tmp_path / 'out')
    assert not vit.training
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    assert std == pytest.approx((0.229, 0.224, 0.225))
    pixels = torch.randn(2, 3, 24, 16, generator=torch.Generator().manual_seed(0))
    expected = runner.model.teacher['backbone'].eval().forward_features(pixels)
    torch.testing.assert_close(vit.forward_features(pixels), expected, rtol=0, atol=5e-3)
