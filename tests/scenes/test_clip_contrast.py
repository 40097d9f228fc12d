"""Contrastive training of a tiny CLIP: losses are CLIP's and SigLIP's, resuming is exact."""

import open_clip
import open_clip.loss
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from short_trainings import train
from torch.nn import functional as F

from ovseg.encoders.clip import load_clip
from ovseg.encoders.tiny import build_tiny_clip
from ovseg.errors import UserError
from ovseg.scenes import CLIPContrast
from ovseg.scenes.captions import CAPTION_WORDS
from ovseg.training.losses import contrastive_loss, sigmoid_pair_loss

CONFIG = ROOT / 'configs/tiny_clip/clip_scenes.py'
SIGLIP = ROOT / 'configs/tiny_siglip/siglip_scenes.py'
CONVNEXT = ROOT / 'configs/tiny_clip/convnext_scenes.py'


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def small_config(work_dir, iterations=12):
    config = Config.fromfile(CONFIG)
    config.work_dir = str(work_dir)
    config.model.clip.vision_cfg.update(image_size=16, width=32, layers=1, head_width=16)
    config.model.clip.text_cfg.update(width=32, heads=2, layers=1)
    config.train_dataloader.update(batch_size=16, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.update(num_views=16 * iterations, size=16, span=(40, 60))
    config.train_cfg.max_iters = iterations
    config.param_scheduler = []
    config.default_hooks.checkpoint.update(interval=iterations // 2, max_keep_ckpts=-1)
    config.default_hooks.logger.interval = 1
    config.optim_wrapper.optimizer.lr = 5e-3
    config.log_level = 'ERROR'
    return config


def unit(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 8, generator=generator), dim=1)


def test_the_loss_is_open_clips_when_all_captions_differ():
    images, texts, scale = unit(6, 0), unit(6, 1), torch.tensor(14.0)
    ours = contrastive_loss(images, texts, scale, torch.arange(6))
    theirs = open_clip.ClipLoss()(images, texts, scale)
    torch.testing.assert_close(ours, theirs)


def test_captions_of_one_meaning_are_no_negatives_of_each_other():
    features = F.normalize(torch.eye(3, 8)[[0, 0, 1, 2]], dim=1)
    scale = torch.tensor(50.0)
    meaning = torch.tensor([5, 5, 6, 7])
    # Two images with one caption: log(2) is the least that this target allows.
    shared = contrastive_loss(features, features, scale, meaning)
    assert shared.item() == pytest.approx(0.5 * torch.log(torch.tensor(2.0)).item(), abs=1e-5)
    apart = F.normalize(features + 0.5 * torch.eye(4, 8).flip(0), dim=1)
    assert contrastive_loss(apart, apart, scale, meaning) > shared


def test_the_sigmoid_loss_is_open_clips_when_all_captions_differ():
    images, texts, scale, bias = unit(6, 0), unit(6, 1), torch.tensor(14.0), torch.tensor(-3.0)
    ours = sigmoid_pair_loss(images, texts, scale, bias, torch.arange(6))
    torch.testing.assert_close(ours, open_clip.loss.SigLipLoss()(images, texts, scale, bias))


def test_pairs_of_one_meaning_belong_together():
    features = torch.eye(3, 8)[[0, 0, 1]]
    scale, bias = torch.tensor(40.0), torch.tensor(-20.0)
    together = sigmoid_pair_loss(features, features, scale, bias, torch.tensor([5, 5, 6]))
    assert together < 1e-6
    apart = sigmoid_pair_loss(features, features, scale, bias, torch.arange(3))
    assert apart.item() == pytest.approx(2 * 20 / 3, abs=1e-4)  # two pairs in three rows


@pytest.mark.parametrize('config', [CONFIG, SIGLIP, CONVNEXT], ids=['clip', 'siglip', 'convnext'])
def test_the_config_lists_the_words_of_the_captions(config):
    assert Config.fromfile(config).model.words.split() == list(CAPTION_WORDS)


def test_a_sigmoid_training_starts_as_in_the_paper_unless_the_config_says_otherwise():
    clip = CLIPContrast(**_arguments(loss='sigmoid')).clip
    assert clip.logit_scale.exp().item() == pytest.approx(10)
    assert clip.logit_bias.item() == -10
    architecture = {**_arguments()['clip'], 'init_logit_bias': -4.0}
    assert CLIPContrast(architecture, loss='sigmoid').clip.logit_bias.item() == -4
    assert CLIPContrast(**_arguments()).clip.logit_bias is None


def test_an_unlisted_word_is_named():
    model = CLIPContrast(**_arguments(words='a red star'))
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(UserError, match="'a blue star' has a word"):
        model(images, ['a red star', 'a blue star'], [0, 1])


def test_few_rows_give_the_features_of_the_whole_vocabulary():
    few = CLIPContrast(**_arguments(words='a red blue star')).eval()
    whole = CLIPContrast(**_arguments()).eval()
    state = few.state_dict()
    rows = torch.zeros_like(whole.clip.token_embedding.weight)
    rows[few.token_ids] = state['clip.token_embedding.weight']
    whole.load_state_dict({**state, 'clip.token_embedding.weight': rows})
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    captions = ['a red star', 'blue']
    for ours, theirs in zip(
        few(images, captions, [0, 1], mode='tensor'),
        whole(images, captions, [0, 1], mode='tensor'),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_bfloat16_is_close_and_keeps_the_loss_in_float32():
    exact = CLIPContrast(**_arguments()).eval()
    quick = CLIPContrast(**_arguments(bfloat16=True)).eval()
    quick.load_state_dict(exact.state_dict())
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    batch = (images, ['a star', 'a heart', 'snow'], [0, 1, 2])
    losses = exact(*batch)['loss'], quick(*batch)['loss']
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0.03, atol=0.03)
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(clip={'embed_dim': 4}), UserError, 'lacks text_cfg, vision_cfg'),
        (dict(loss='hinge'), UserError, "'softmax' or 'sigmoid', got 'hinge'"),
        (
            dict(text_learns=False),
            UserError,
            r"name it in model\.start, such as 'tiny_clip_scenes'",
        ),
        (dict(mode='predict'), ValueError, "modes 'loss' and 'tensor'"),
    ],
)
def test_wrong_use_is_explained(change, error, message):
    mode = change.pop('mode', 'loss')
    with pytest.raises(error, match=message):
        model = CLIPContrast(**{**_arguments(), **change})
        model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), ['a'], [0], mode=mode)


def test_training_through_the_runner_lowers_the_loss(tmp_path):
    runner = train(small_config(tmp_path, iterations=40), 'learn')
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.3


def test_the_tiny_siglip_goes_on_from_the_tiny_clip(tmp_path):
    config = Config.fromfile(SIGLIP)
    config.work_dir = str(tmp_path)
    config.train_dataloader.update(batch_size=24, num_workers=0, persistent_workers=False)
    config.train_cfg.max_iters = 2
    config.log_level = 'ERROR'
    runner = train(config, 'siglip')
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    accuracies, _ = runner.message_hub.get_scalar('train/accuracy').data
    # At random the loss is above 10, and one in 24 is right.
    assert losses[0] < 6 and accuracies[0] > 0.5
    moved = runner.model.clip.logit_scale, runner.model.clip.logit_bias
    start = build_tiny_clip()[0].logit_scale, torch.tensor(-20.0)
    for now, before in zip(moved, start, strict=True):
        assert 0 < (now - before).abs() < 0.1


def test_a_text_tower_of_other_sizes_is_refused():
    with pytest.raises(UserError, match=r'model\.start: the text tower of this CLIP does not fit'):
        CLIPContrast(**_arguments(start='tiny_clip_scenes')).init_weights()


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    config = small_config(tmp_path / 'whole')
    whole = train(config, 'whole')
    config.work_dir = str(tmp_path / 'resumed')
    resumed = train(
        config, 'resumed', resume=True, load_from=str(tmp_path / 'whole' / 'iter_6.pth')
    )
    assert resumed.iter == whole.iter == 12
    states = whole.model.state_dict(), resumed.model.state_dict()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_a_checkpoint_is_exported_and_loads(tmp_path):
    config = small_config(tmp_path / 'run', iterations=2)
    runner = train(config, 'export')
    config.dump(tmp_path / 'config.py')
    export = load_script('export')
    arguments = ['tiny-clip', str(tmp_path / 'run' / 'iter_2.pth'), str(tmp_path / 'out' / 'mine')]
    assert export.main([*arguments, '--config', str(tmp_path / 'config.py')]) == 0
    path, architecture = tmp_path / 'out' / 'mine.safetensors', config.model.clip.to_dict()
    loaded = load_clip(architecture, str(path)).model
    for key, value in build_tiny_clip('mine', tmp_path / 'out')[0].state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    with pytest.raises(UserError, match=r'holds another CLIP than clip\.model describes'):
        load_clip({**architecture, 'embed_dim': 64}, str(path))
    clip, tokenizer, mean, std = build_tiny_clip('mine', tmp_path / 'out')
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    trained = runner.model.eval()
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    captions = ['a red star on grass', 'snow', 'an orange fish']
    with torch.inference_mode():
        expected = trained(images, captions, [0, 1, 2], mode='tensor')
        scaled = images / 255 - torch.tensor(mean).view(3, 1, 1)
        pixels = scaled / torch.tensor(std).view(3, 1, 1)
        got = (
            clip.encode_image(pixels, normalize=True),
            clip.encode_text(tokenizer(captions), normalize=True),
        )
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-3)  # stored in float16


def _arguments(**changes):
    clip = dict(
        embed_dim=16,
        vision_cfg=dict(
            image_size=16, patch_size=8, width=32, layers=1, head_width=16, pool_type='avg'
        ),
        text_cfg=dict(context_length=8, vocab_size=49408, width=32, heads=2, layers=1),
    )
    return dict(clip=clip, **changes)
