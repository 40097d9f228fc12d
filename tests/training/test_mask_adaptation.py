"""CLIP's adaptation to masked regions: what learns, by which loss, and what checkpoints hold."""

import math

import numpy as np
import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from scripts import ROOT
from short_trainings import train
from tiny_clip_models import RESNET, VIT

from ovseg.datasets.pair_files import Pair, write_pairs
from ovseg.encoders import load_clip
from ovseg.engine import load_checkpoint_strict, read_checkpoint
from ovseg.errors import UserError
from ovseg.training import MaskAdaptation
from ovseg.training.losses import contrastive_loss

CONFIGS = ROOT / 'configs/ovseg'
NOUNS = ('red star', 'sky', 'door, gate')


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A random CLIP in a file, as arguments of load_clip."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('clip') / 'clip.pt'
    torch.save(load_clip(VIT, 'random').model.state_dict(), path)
    return dict(model=VIT, pretrained=str(path))


def batch(nouns=NOUNS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (len(nouns), 3, 32, 32), dtype=torch.uint8, generator=generator)
    masks = torch.zeros(len(nouns), 1, 32, 32, dtype=torch.bool)
    masks[:, :, 5:14, 3:20] = True
    return dict(inputs=images, caption=list(nouns), masks=masks)


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def step(model):
    before = {name: value.clone() for name, value in model.clip.state_dict().items()}
    rates = [value for value in model.parameters() if value.requires_grad]
    model(**batch())['loss'].backward()
    torch.optim.SGD(rates, lr=1.0).step()
    return changed(before, model.clip.state_dict())


def test_fine_tuning_changes_the_image_tower_and_the_temperature_only(clip):
    names = step(MaskAdaptation(clip, 'image_tower'))
    assert 'logit_scale' in names and 'visual.conv1.weight' in names
    assert all(name.startswith('visual.') for name in names - {'logit_scale'})


def test_prompt_tuning_changes_mask_prompts_and_the_temperature_only(clip):
    model = MaskAdaptation(clip, 'mask_prompts', prompt_depth=2)
    assert model.clip.visual.mask_embedding.shape == (2, 16, 32)
    assert step(model) == {'visual.mask_embedding', 'logit_scale'}


def test_mask_prompts_start_normal_with_a_deviation_of_two_hundredths(clip):
    torch.manual_seed(0)
    prompts = MaskAdaptation(clip, 'mask_prompts', prompt_depth=3).clip.visual.mask_embedding
    assert prompts.std().item() == pytest.approx(0.02, rel=0.05)
    assert prompts.mean().abs() < 2e-3


def test_the_loss_is_open_clips_and_takes_a_noun_twice_for_two(clip):
    model = MaskAdaptation(clip, 'image_tower')
    given = batch(('star', 'sky', 'star'))
    regions, nouns = model(**given, mode='tensor')
    reference = load_clip(**clip).model
    tokens = open_clip.SimpleTokenizer(context_length=16)(given['caption'])
    torch.testing.assert_close(nouns, reference.encode_text(tokens, normalize=True))
    wanted = open_clip.ClipLoss()(regions, nouns, reference.logit_scale.exp())
    torch.testing.assert_close(model(**given)['loss'], wanted)


def test_regions_of_one_noun_lose_nothing_by_being_negatives(clip):
    model = MaskAdaptation(clip, 'image_tower')
    given = batch(('star', 'sky', 'star'))
    regions, nouns = model(**given, mode='tensor')
    shared = contrastive_loss(regions, nouns, model.clip.logit_scale.exp(), torch.tensor([0, 1, 0]))
    torch.testing.assert_close(model(**given)['loss'], shared)


def test_accuracy_counts_any_region_of_the_noun(clip, monkeypatch):
    model = MaskAdaptation(clip, 'image_tower')
    given = batch(('star', 'star'))
    assert model(**given)['accuracy'] == 1
    nouns = model(**batch(('star', 'sky')), mode='tensor')[1]
    monkeypatch.setattr(model, '_region_features', lambda *_: nouns.flip(0))
    assert model(**batch(('star', 'sky')))['accuracy'] == 0


def test_a_template_is_put_around_the_noun(clip):
    model = MaskAdaptation(clip, 'image_tower', template='a(n) {}')
    tokens = open_clip.SimpleTokenizer(context_length=16)(['an apple', 'a star'])
    expected = model.clip.encode_text(tokens, normalize=True)
    nouns = model(**batch(('apple', 'star')), mode='tensor')[1]
    torch.testing.assert_close(nouns, expected)
    assert not nouns.requires_grad


def test_a_nouns_features_do_not_depend_on_its_batch(clip):
    first, second = (MaskAdaptation(clip, 'image_tower') for _ in range(2))
    one = first(**batch(('star', 'sky', 'sand')), mode='tensor')[1][0]
    other = second(**batch(('tree', 'star')), mode='tensor')[1][1]
    assert torch.equal(one, other)


def test_the_temperature_is_clamped_after_the_step_and_not_before_the_loss(clip):
    model = MaskAdaptation(clip, 'image_tower')
    model.clip.logit_scale.data.fill_(5.0)
    assert model(**batch())['temperature'].item() == pytest.approx(math.exp(5.0))
    model.clamp_logit_scale()
    assert model.clip.logit_scale.item() == pytest.approx(math.log(100))
    model.clip.logit_scale.data.fill_(-1.0)
    model.clamp_logit_scale()
    assert model.clip.logit_scale.item() == 0


def test_prompt_tuning_goes_on_from_a_fine_tuning(clip, tmp_path):
    torch.manual_seed(1)
    tuned = MaskAdaptation(clip, 'image_tower')
    step(tuned)
    torch.save({'state_dict': tuned.state_dict()}, tmp_path / 'ours.pth')
    published = {f'module.{name}': value for name, value in tuned.to_published().items()}
    torch.save({'epoch': 5, 'state_dict': published}, tmp_path / 'published.pt')
    for name in ('ours.pth', 'published.pt'):
        model = MaskAdaptation(clip, 'mask_prompts', tmp_path / name, prompt_depth=2)
        state = model.clip.state_dict()
        state.pop('visual.mask_embedding')
        assert not changed(state, tuned.clip.state_dict())
        assert not model.clip.visual.conv1.weight.requires_grad


def test_prompts_can_be_tuned_further(clip, tmp_path):
    first = MaskAdaptation(clip, 'mask_prompts', prompt_depth=2)
    torch.save(first.to_published(), tmp_path / 'prompts.pt')
    second = MaskAdaptation(clip, 'mask_prompts', tmp_path / 'prompts.pt', prompt_depth=2)
    assert torch.equal(first.clip.visual.mask_embedding, second.clip.visual.mask_embedding)
    with pytest.raises(UserError, match='mask_embedding is .2, 16, 32., wanted .3, 16, 32.'):
        MaskAdaptation(clip, 'mask_prompts', tmp_path / 'prompts.pt', prompt_depth=3)
    with pytest.raises(UserError, match='would leave behind'):
        MaskAdaptation(clip, 'image_tower', tmp_path / 'prompts.pt')


def test_another_clip_than_the_one_trained_with_is_refused(clip, tmp_path):
    other = dict(clip, pretrained='random')
    tuned = MaskAdaptation(clip, 'image_tower')
    torch.save({'state_dict': tuned.state_dict()}, tmp_path / 'tuned.pth')
    with pytest.raises(UserError, match='another text tower'):
        MaskAdaptation(other, 'mask_prompts', tmp_path / 'tuned.pth')
    torch.save(tuned.to_published(), tmp_path / 'whole.pth')
    with pytest.raises(UserError, match='another text tower'):
        MaskAdaptation(other, 'mask_prompts', tmp_path / 'whole.pth')
    prompts = MaskAdaptation(clip, 'mask_prompts').state_dict()
    torch.save({'state_dict': prompts}, tmp_path / 'prompts.pth')
    with pytest.raises(UserError, match='no image tower'):
        MaskAdaptation(clip, 'mask_prompts', tmp_path / 'prompts.pth')
    with pytest.raises(UserError, match='frozen_clip_checksum'):
        load_checkpoint_strict(MaskAdaptation(other, 'mask_prompts'), tmp_path / 'prompts.pth')
    load_checkpoint_strict(MaskAdaptation(clip, 'mask_prompts'), tmp_path / 'prompts.pth')


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(train='all'), UserError, 'model.train must be one of image_tower, mask_prompts'),
        (dict(clip=dict(model=RESNET, pretrained='random')), UserError, 'vision transformers'),
        (dict(prompt_depth=4), UserError, 'lie in 1..3'),
        (dict(masks=None), UserError, "dataset.mask_from to 'file' or 'colour'"),
        (dict(mode='predict'), ValueError, "modes 'loss' and 'tensor'"),
    ],
)
def test_wrong_use_is_explained(clip, change, error, message):
    arguments = {'clip': clip, 'train': 'mask_prompts', **change}
    given = batch()
    given.update({key: arguments.pop(key) for key in ('masks', 'mode') if key in arguments})
    with pytest.raises(error, match=message):
        MaskAdaptation(**arguments)(**given)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """Bright and dark regions, which three rounds can tell apart."""
    folder = tmp_path_factory.mktemp('pairs')
    random = np.random.default_rng(0)
    rows = []
    for number in range(9):
        mask = np.zeros((36, 36), np.uint8)
        mask[4:20, 6:26] = 255
        noun, level = (('snow', 230), ('night', 20), ('stone', 120))[number % 3]
        image = random.integers(level - 15, level + 15, (36, 36, 3)).astype(np.uint8)
        image[mask == 0] = (123, 117, 104)
        Image.fromarray(image).save(folder / f'{number}.png')
        Image.fromarray(mask).save(folder / f'{number}_mask.png')
        rows.append(Pair(f'{number}.png', noun, f'{number}_mask.png'))
    write_pairs(folder / 'pairs.csv', rows)
    return folder / 'pairs.csv'


def config_of(stem, clip, pairs, work_dir, rounds=4):
    config = Config.fromfile(CONFIGS / f'{stem}.py')
    config.merge_from_dict(
        dict(
            model=dict(clip=dict(clip, _delete_=True), template='{}'),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                dataset=dict(dataset=dict(pairs=str(pairs), size=32)),
            ),
            train_cfg=dict(max_epochs=rounds),
            default_hooks=dict(checkpoint=dict(max_keep_ckpts=-1), logger=dict(interval=1)),
            work_dir=str(work_dir),
            log_level='ERROR',
        )
    )
    config.param_scheduler[0].update(warmup=2, end=rounds)
    return config


@pytest.mark.parametrize(
    ('stem', 'learned'),
    [
        ('clip_ft_vit-l14_openai_4xb32_5e_coco', None),
        ('clip_mpt_vit-l14_openai_4xb32_5e_coco', {'clip.visual.mask_embedding'}),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(stem, learned, clip, pairs, tmp_path):
    config = config_of(stem, clip, pairs, tmp_path / 'whole')
    whole = train(config, f'{stem}_whole')
    assert whole.iter == 8  # rounds of two whole batches; the ninth pair is left over
    config.work_dir = str(tmp_path / 'resumed')
    middle = tmp_path / 'whole' / 'epoch_2.pth'
    resumed = train(config, f'{stem}_resumed', resume=True, load_from=str(middle))
    states = [runner.model.state_dict() for runner in (whole, resumed)]
    assert not changed(*states)
    held = read_checkpoint(tmp_path / 'whole' / 'epoch_4.pth')['state_dict']
    assert held.keys() == states[0].keys()
    others = held.keys() - {'clip.logit_scale', 'frozen_clip_checksum'}
    assert others == learned if learned else all(name.startswith('clip.visual.') for name in others)
    assert changed(held, read_checkpoint(middle)['state_dict']) >= others


def test_fine_tuning_lowers_the_loss_and_keeps_the_temperature_in_bounds(clip, pairs, tmp_path):
    config = config_of('clip_ft_vit-l14_openai_4xb32_5e_coco', clip, pairs, tmp_path, rounds=10)
    config.optim_wrapper.optimizer.lr = 2e-3
    config.optim_wrapper.paramwise_cfg.custom_keys.logit_scale.lr_mult = 1000.0
    runner = train(config, 'learn')
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert sum(losses[-4:]) < sum(losses[:4]) - 0.4
    temperatures, _ = runner.message_hub.get_scalar('train/temperature').data
    assert max(temperatures) <= 100.001 and min(temperatures) >= 0.999
    assert max(temperatures) > 99 or min(temperatures) < 1.01


def test_decay_is_for_matrices_and_tables_only(clip, pairs, tmp_path):
    config = config_of('clip_ft_vit-l14_openai_4xb32_5e_coco', clip, pairs, tmp_path)
    from mmengine.optim import build_optim_wrapper

    model = MaskAdaptation(clip, 'image_tower')
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    decay = {id(group['params'][0]): group['weight_decay'] for group in optimizer.param_groups}
    for name, value in model.named_parameters():
        if value.requires_grad:
            assert decay.pop(id(value)) == (0.2 if value.ndim > 1 else 0.0), name
    assert not decay


@pytest.mark.parametrize('part', ['image_tower', 'mask_prompts'])
def test_in_mixed_precision_the_loss_and_the_nouns_stay_in_float32(clip, part):
    model = MaskAdaptation(clip, part)
    nouns = model(**batch(), mode='tensor')[1]
    again = MaskAdaptation(clip, part)
    again.load_state_dict(model.state_dict(), strict=False)
    exact = model(**batch())['loss']
    with torch.autocast('cpu', torch.bfloat16):
        regions, mixed_nouns = again(**batch(), mode='tensor')
        loss = again(**batch())['loss']
    assert loss.dtype == regions.dtype == torch.float32
    assert torch.equal(nouns, mixed_nouns)
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)
    assert loss != exact
    loss.backward()
