"""FOUND's background discovery and self-training, on a tiny random DINO."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from short_trainings import train
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from ovseg.encoders.embedded import write_embedded
from ovseg.encoders.tiny_dino import build_tiny_dino, build_tiny_found
from ovseg.errors import UserError
from ovseg.scenes.found import (
    FoundTraining,
    background_mask,
    class_attention,
    found_loss,
    head_weights,
    last_queries_and_keys,
)

CONFIG = ROOT / 'configs/tiny_dino/found_scenes.py'
VIT = dict(
    img_size=16,
    patch_size=8,
    embed_dim=16,
    depth=2,
    num_heads=2,
    num_classes=0,
    dynamic_img_size=True,
)
GREY = (0.5, 0.5, 0.5)


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    vit = VisionTransformer(**VIT)
    with torch.no_grad():
        vit.blocks[-1].attn.qkv.weight.mul_(20)
    facts = dict(model=VIT, mean=GREY, std=GREY, origin={})
    write_embedded(tmp_path / 'dino', 'dino', vit.state_dict(), **facts)
    return tmp_path


def tokens(seed, batch=2, heads=3, patches=7, width=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, 1 + patches, width, generator=generator)


def pictures(size=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)


def small_config(folder, iterations=6):
    config = Config.fromfile(CONFIG)
    config.work_dir = str(folder / 'run')
    config.model.update(dino='dino', folder=str(folder), coarse_steps=2)
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.update(num_scenes=2 * iterations, size=24)
    config.train_cfg.max_iters = iterations
    config.default_hooks.checkpoint.update(interval=iterations // 2, max_keep_ckpts=-1)
    config.default_hooks.logger.interval = 1
    config.log_level = 'ERROR'
    return config


def test_the_mask_is_that_of_a_loop_over_heads_and_patches():
    queries, keys = tokens(0), tokens(1)
    for image in range(2):
        attention = torch.stack(
            [(keys[image, h] @ queries[image, h, 0] / 2).softmax(0)[1:] for h in range(3)]
        )
        busy = [(attention[h] > attention.mean()).float().mean() for h in range(3)]
        weights = [torch.log(sum(busy) / share) for share in busy]
        seed = sum(w * a for w, a in zip(weights, attention, strict=True)).argmin()
        patches = [
            torch.cat([weights[h] * keys[image, h, 1 + n] for h in range(3)]) for n in range(7)
        ]
        expected = [F.cosine_similarity(patch, patches[seed], dim=0) > 0.3 for patch in patches]
        mask = background_mask(queries, keys, tau=0.3)[image]
        assert mask.tolist() == [bool(value) for value in expected]
        assert mask[seed]
        assert not mask.all()


def test_more_seeds_follow_until_enough_is_background():
    queries, keys = tokens(2, batch=4, patches=30), tokens(3, batch=4, patches=30)
    one = background_mask(queries, keys, tau=0.5)
    several = background_mask(queries, keys, tau=0.5, cover=0.6)
    assert (one.float().mean(1) < 0.6).all()
    assert (several.float().mean(1) >= 0.6).all()
    assert not (one & ~several).any()
    assert background_mask(queries, keys, tau=0.5, cover=1.0).all()


def test_the_seed_by_region_has_many_like_it():
    # Four patches are alike and little attended, one alone is attended least.
    directions = torch.tensor([[0.0, 1.0]] + [[1.0, 0.0]] * 4 + [[0.0, -1.0]] * 2)
    keys = torch.cat([torch.zeros(1, 2), directions])[None, None]
    queries = torch.zeros(1, 1, 8, 2)
    queries[..., 0, :] = torch.tensor([-1.0, -2.0])
    # Two heads, or a head's weight would be log(1) = 0.
    keys, queries = keys.repeat(1, 2, 1, 1), queries.repeat(1, 2, 1, 1)
    assert background_mask(queries, keys)[0].tolist() == [True] + [False] * 6
    by_region = background_mask(queries, keys, by_region=True)[0]
    assert by_region.tolist() == [False] + [True] * 4 + [False] * 2


def test_the_sparser_head_weighs_more():
    attention = torch.tensor([[[0.9, 0.02, 0.04, 0.04], [0.3, 0.3, 0.3, 0.1]]])
    weights = head_weights(attention)[0]
    assert weights[0] > weights[1]


def test_queries_and_keys_are_those_of_the_last_block_and_no_hook_stays(folder):
    vit = FoundTraining('dino', str(folder)).dino
    pixels = pictures() / 255
    queries, keys = last_queries_and_keys(vit, pixels)
    assert queries.shape == keys.shape == (2, 2, 10, 8)
    assert not vit.blocks[-1].attn.qkv._forward_hooks
    values = vit.blocks[-1].attn.qkv
    before = vit.patch_embed(pixels)
    before = vit.norm_pre(vit._pos_embed(before))
    joint = values(vit.blocks[-1].norm1(vit.blocks[0](before)))
    torch.testing.assert_close(queries.transpose(1, 2).flatten(2), joint[..., :16])
    torch.testing.assert_close(keys.transpose(1, 2).flatten(2), joint[..., 16:32])
    sums = class_attention(queries, keys).sum(2)
    assert (sums < 1).all()
    assert (sums > 0.5).all()


def test_stages_of_the_loss():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    coarse = torch.tensor([[False, False, True]])
    own = torch.tensor([[1.0, 0.0, 1.0]])
    itself = F.binary_cross_entropy_with_logits(logits, own)
    to_coarse = F.binary_cross_entropy_with_logits(logits, coarse.float())
    weights = (1.5, 5.5)
    torch.testing.assert_close(found_loss(logits, coarse, True, weights), 1.5 * itself + to_coarse)
    torch.testing.assert_close(found_loss(logits, coarse, False, weights), 5.5 * itself)


def test_only_the_head_learns_and_stages_change_with_the_step(folder):
    model = FoundTraining('dino', str(folder), coarse_steps=1).train()
    assert not model.dino.training
    first = model(pictures())['loss']
    first.backward()
    assert [key for key, p in model.named_parameters() if p.grad is not None] == [
        'found.decoder.weight',
        'found.decoder.bias',
    ]
    model.step += 1
    assert model(pictures())['loss'] != first


def test_wrong_use_is_explained(folder):
    model = FoundTraining('dino', str(folder))
    with pytest.raises(UserError, match='20 x 20 pixels do not divide into patches of 8'):
        model(pictures(20))
    with pytest.raises(ValueError, match="the mode 'loss' only"):
        model(pictures(), mode='predict')
    with pytest.raises(UserError, match="no dino model 'dinner'.*Did you mean 'dino'"):
        FoundTraining('dinner', str(folder))


def test_a_share_above_one_is_explained(folder):
    with pytest.raises(UserError, match='model.cover must be between 0 and 1, got 1.5'):
        FoundTraining('dino', str(folder), cover=1.5)


def test_training_through_the_runner_learns_the_coarse_mask(folder):
    config = small_config(folder, iterations=30)
    config.model.coarse_steps = 30
    runner = train(config, 'learn')
    trained_on = build_tiny_dino('dino', folder)[0].state_dict()
    for key, value in runner.model.dino.state_dict().items():
        assert torch.equal(value, trained_on[key]), key
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_resumed_training_equals_an_uninterrupted_one(folder):
    config = small_config(folder)
    whole = train(config, 'whole')
    config.work_dir = str(folder / 'resumed')
    resumed = train(config, 'resumed', resume=True, load_from=str(folder / 'run' / 'iter_3.pth'))
    assert resumed.iter == whole.iter == int(whole.model.step) == 6
    states = whole.model.state_dict(), resumed.model.state_dict()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_the_head_is_exported_and_loads(folder):
    config = small_config(folder, iterations=2)
    runner = train(config, 'export')
    config.dump(folder / 'config.py')
    export = load_script('export')
    arguments = ['tiny-dino', str(folder / 'run' / 'iter_2.pth'), str(folder / 'mine')]
    assert export.main([*arguments, '--config', str(folder / 'config.py')]) == 0
    found, dino = build_tiny_found('mine', folder)
    assert dino == 'dino'
    assert set(found.state_dict()) == {'decoder.weight', 'decoder.bias'}
    keys = torch.randn(1, 16, 3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found(keys), runner.model.found(keys), rtol=0, atol=1e-2)
