"""Training of a SAM: what learns in which round; trainings that go on, grow, are exported."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from short_trainings import train

from ovseg.encoders.tiny_sam import build_tiny_sam
from ovseg.engine.runner import OVRunner
from ovseg.errors import UserError
from ovseg.scenes import PromptableMasks
from ovseg.scenes.promptable_masks import resized_positions, score_masks
from ovseg.training.losses import dice_loss, focal_loss

SAM = dict(
    image_size=32,
    patch_size=8,
    encoder_embed_dim=16,
    encoder_depth=2,
    encoder_num_heads=2,
    mlp_ratio=2.0,
    global_attn_indexes=[1],
    window_size=2,
    prompt_embed_dim=16,
    mask_in_chans=8,
    decoder_num_heads=2,
    decoder_mlp_dim=16,
    iou_head_hidden_dim=16,
)


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def small_model(**changes):
    torch.manual_seed(0)
    return PromptableMasks(**{'sam': SAM, 'rounds': 2, **changes})


def batch(count=2):
    """Pictures with a bright square, which is the first mask; the second is what is around it."""
    inputs, masks = [], []
    for number in range(count):
        mask = torch.zeros(16, 16, dtype=torch.bool)
        mask[4 + number : 11 + number, 3:10] = True
        image = torch.full((3, 32, 32), 60, dtype=torch.uint8)
        image[:, mask.repeat_interleave(2, 0).repeat_interleave(2, 1)] = 220
        inputs.append(image)
        masks.append(torch.stack([mask, ~mask]))
    return {'inputs': inputs, 'masks': masks}


def small_config(work_dir, iterations=4):
    config = Config.fromfile(ROOT / 'configs/tiny_sam/tiny_sam_scenes_small.py')
    config.work_dir = str(work_dir)
    config.model.sam.update(SAM)
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.update(num_scenes=2 * iterations, size=32, masks=2)
    config.train_cfg.max_iters = iterations
    for schedule in config.param_scheduler:
        schedule.update(begin=0, end=iterations)
        if 'T_max' in schedule:
            schedule.T_max = iterations
    config.default_hooks.checkpoint.update(interval=iterations // 2, max_keep_ckpts=-1)
    config.default_hooks.logger.interval = 1
    config.log_level = 'ERROR'
    return config


def four_masks():
    """Logits (2, 4, 2, 2) and target (2, 2, 2): mask 2 is right for the first, 3 for the second."""
    target = torch.tensor([[[True, False], [True, False]], [[False, False], [True, True]]])
    logits = 4 * torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(0)) - 4
    logits[0, 2], logits[1, 3] = (2 * target.float() - 1) * 5
    return logits.requires_grad_(), target


def test_the_best_of_three_learns_from_an_ambiguous_prompt():
    logits, target = four_masks()
    predicted = torch.tensor([[9.0, 0.1, 0.2, 0.8], [9.0, 0.1, 0.2, 0.8]])
    result, chosen = score_masks(logits, predicted, target, several=True, single=False)
    right = torch.stack([logits[0, 2], logits[1, 3]])
    torch.testing.assert_close(result[0], focal_loss(right, target.float()).mean())
    torch.testing.assert_close(result[1], dice_loss(right, target.float()).mean())
    result[0].backward()
    learns = logits.grad.flatten(2).abs().sum(2) > 0
    assert learns.tolist() == [[False, False, True, False], [False, False, False, True]]
    # The one that is believed to be best goes on, not the one that is.
    assert torch.equal(chosen[:, 0], logits[:, 3])
    assert not chosen.requires_grad


def test_the_first_mask_alone_learns_from_several_prompts():
    logits, target = four_masks()
    predicted = torch.full((2, 4), 0.25)
    result, chosen = score_masks(logits, predicted, target, several=False, single=True)
    torch.testing.assert_close(result[0], focal_loss(logits[:, 0], target.float()).mean())
    result[0].backward()
    assert not logits.grad[:, 1:].any()
    assert torch.equal(chosen, logits[:, :1])


def test_of_a_box_the_first_mask_and_the_best_of_the_others_learn():
    logits, target = four_masks()
    predicted = torch.tensor([[0.9, 0.1, 0.2, 0.8]] * 2)
    result, chosen = score_masks(logits, predicted, target, several=True, single=True)
    right = torch.stack([logits[0, 0], logits[0, 2], logits[1, 0], logits[1, 3]])
    wanted = target.float().repeat_interleave(2, 0)
    torch.testing.assert_close(result[0], focal_loss(right, wanted).mean())
    assert torch.equal(chosen, logits[:, :1])


def test_predicted_iou_is_compared_with_the_true_one():
    logits, target = four_masks()
    predicted = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    with torch.no_grad():
        logits[:, :] = -5.0
        logits[0, 2], logits[1, 3] = (2 * target.float() - 1) * 5
    result, _ = score_masks(logits, predicted, target, several=True, single=True)
    assert result[2] == 0
    result, _ = score_masks(logits, predicted + 0.5, target, several=True, single=True)
    assert result[2].item() == pytest.approx(0.25)


def test_every_kind_of_prompt_reaches_every_part():
    model = small_model()
    for first in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        model.first = first
        model.zero_grad()
        losses = model(**batch())
        sum(value for name, value in losses.items() if name.startswith('loss')).backward()
        for name in (
            'image_encoder.patch_embed.proj.weight',
            'image_encoder.blocks.1.attn.rel_pos_h',
            'prompt_encoder.mask_downscaling.0.weight',
            'mask_decoder.iou_token.weight',
        ):
            assert model.sam.get_parameter(name).grad.abs().sum() > 0, (first, name)
        boxed = model.sam.prompt_encoder.point_embeddings[2].weight.grad
        assert (boxed is not None and bool(boxed.any())) == (first != (1, 0, 0))


def test_one_step_lowers_the_loss_of_its_batch():
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

    def loss():
        torch.manual_seed(1)  # the same prompts
        losses = model(**batch())
        return sum(value for name, value in losses.items() if name.startswith('loss'))

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def test_the_last_attention_learns_to_stay_in_masks_where_asked():
    model = small_model(attention_weight=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    seen = []
    for _ in range(15):
        losses = model(**batch())
        seen.append(losses['loss_attention'].item())
        optimizer.zero_grad()
        losses['loss_attention'].backward()
        optimizer.step()
    assert seen[-1] < 0.7 * seen[0]
    assert 'loss_attention' not in small_model()(**batch())


def test_opening_the_encoder_at_its_last_block_changes_nothing():
    model = small_model()
    frames = torch.randn(2, 3, 32, 32)
    embeddings, _ = model._encode(frames)
    assert torch.allclose(embeddings, model.sam.image_encoder(frames), atol=1e-6)


def test_bfloat16_changes_little():
    torch.manual_seed(0)
    whole = small_model()
    half = small_model(bfloat16=True)
    values = []
    for model in (whole, half):
        torch.manual_seed(2)
        values.append(model(**batch())['loss_focal'].item())
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.02)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(rounds=0), UserError, 'model.rounds must be above 0, got 0'),
        (dict(attention_weight=-1), UserError, 'attention_weight must not be below 0, got -1'),
        (dict(first=(1, 1)), UserError, 'must be 3 frequencies, of point, box, coarse'),
        (dict(first=(0, 0, 0)), UserError, 'not all 0'),
        (dict(first=(2, -1, 1)), UserError, 'none below 0'),
        (dict(mode='predict'), ValueError, "the mode 'loss' only"),
    ],
)
def test_wrong_use_is_explained(change, error, message):
    mode = change.pop('mode', 'loss')
    with pytest.raises(error, match=message):
        small_model(**change)(**batch(), mode=mode)


def test_positions_of_a_smaller_frame_are_interpolated():
    small, large = small_model(), small_model(sam={**SAM, 'image_size': 64})
    with torch.no_grad():
        for block in small.sam.image_encoder.blocks:
            block.attn.rel_pos_h.copy_(torch.linspace(-1, 1, len(block.attn.rel_pos_h))[:, None])
        small.sam.image_encoder.pos_embed.copy_(
            torch.linspace(0, 1, 4)[None, :, None, None].expand(1, 4, 4, 16)
        )
    large.load_state_dict(large.from_published(small.state_dict()))
    window, whole = large.sam.image_encoder.blocks
    assert torch.equal(window.attn.rel_pos_h, small.sam.image_encoder.blocks[0].attn.rel_pos_h)
    assert whole.attn.rel_pos_h.shape == (15, 8)
    assert whole.attn.rel_pos_h[7].abs().max() < 1e-6  # no distance stays no distance
    assert (whole.attn.rel_pos_h[1:] >= whole.attn.rel_pos_h[:-1]).all()
    positions = large.sam.image_encoder.pos_embed[0, :, 0, 0]
    assert (positions[2:-1] > positions[1:-2]).all()
    own = small.state_dict()
    assert all(value is own[name] for name, value in resized_positions(own, own).items())


def test_training_through_the_runner_learns(tmp_path):
    config = small_config(tmp_path, iterations=20)
    config.optim_wrapper.optimizer.lr = 5e-3
    runner = train(config, 'learn')
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.5


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    config = small_config(tmp_path / 'whole')
    whole = train(config, 'whole')
    config.work_dir = str(tmp_path / 'resumed')
    resumed = train(
        config, 'resumed', resume=True, load_from=str(tmp_path / 'whole' / 'iter_2.pth')
    )
    assert resumed.iter == whole.iter == 4
    states = whole.model.state_dict(), resumed.model.state_dict()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_the_second_round_starts_from_the_first_and_is_exported(tmp_path):
    config = small_config(tmp_path / 'small', iterations=2)
    first = train(config, 'small')
    config.model.sam.image_size = 48
    config.train_dataloader.dataset.size = 48
    config.work_dir = str(tmp_path / 'large')
    config.experiment_name = 'large'
    config.load_from = str(tmp_path / 'small' / 'iter_2.pth')
    second = OVRunner.from_cfg(config)  # as the tools do; it loads strictly
    second.train()
    name = 'sam.mask_decoder.iou_token.weight'
    states = first.model.state_dict(), second.model.state_dict()
    torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=0.01)

    config.dump(tmp_path / 'config.py')
    export = load_script('export')
    arguments = ['tiny-sam', str(tmp_path / 'large' / 'iter_2.pth'), str(tmp_path / 'out' / 'mine')]
    arguments += ['--config', str(tmp_path / 'config.py'), '--images', '8']
    assert export.main(arguments) == 0
    facts = json.loads((tmp_path / 'out' / 'mine.json').read_text())
    assert facts['kind'] == 'sam'
    assert facts['origin']['images'] == 8
    sam = build_tiny_sam('mine', tmp_path / 'out')
    pixels = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    expected = second.model.sam.eval().image_encoder(pixels)
    torch.testing.assert_close(sam.image_encoder(pixels), expected, rtol=0, atol=0.02)
