from __future__ import annotations

import random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from ovseg.datasets import DrawnImagesDataset, RandomBrightness, SeededSamplesDataset
from ovseg.datasets.imagenet_subset import draw_subset
from ovseg.engine import SampleSeedHook
from ovseg.errors import UserError
from ovseg.registry import DATASETS


class Draws(torch.utils.data.Dataset):
    """Each sample is one draw of each generator."""

    metainfo = {'classes': ('a',)}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])


def all_of(data, **loader):
    return torch.cat(list(DataLoader(data, batch_size=2, **loader)))


def test_samples_do_not_depend_on_the_process_that_draws_them():
    data = SeededSamplesDataset(Draws(), seed=3)
    assert torch.equal(all_of(data), all_of(data, num_workers=2))
    assert torch.equal(data[1], data[1]) and not torch.equal(data[1], data[2])


def test_rounds_and_seeds_give_other_samples():
    data = SeededSamplesDataset(Draws(), seed=3)
    first = all_of(data)
    data.set_epoch(1)
    assert not torch.isclose(all_of(data), first).any()
    assert not torch.isclose(all_of(SeededSamplesDataset(Draws(), seed=4)), first).any()


def test_the_generators_of_the_process_go_on_as_if_nothing_was_drawn():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    wanted = Draws()[0]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    data = SeededSamplesDataset(Draws())
    data[2]
    assert torch.equal(Draws()[0], wanted)
    assert data.metainfo == Draws.metainfo and len(data) == 4


def test_the_hook_tells_the_round():
    data = SeededSamplesDataset(Draws())
    loader = DataLoader(data)
    SampleSeedHook().before_train_epoch(SimpleNamespace(train_dataloader=loader, epoch=5))
    assert data.epoch == 5
    SampleSeedHook().before_train_epoch(
        SimpleNamespace(train_dataloader=DataLoader(Draws()), epoch=5)
    )


def test_workers_that_live_on_are_refused():
    loader = DataLoader(SeededSamplesDataset(Draws()), num_workers=1, persistent_workers=True)
    with pytest.raises(UserError, match='persistent_workers must be False'):
        SampleSeedHook().before_train_epoch(SimpleNamespace(train_dataloader=loader, epoch=0))


@pytest.fixture
def folder(tmp_path):
    for index in range(3):
        image = np.full((40 + index, 50, 3), 20 * index + 40, np.uint8)
        cv2.imwrite(str(tmp_path / f'{index}.jpg'), image)
    return tmp_path


def test_images_are_drawn_from_a_flat_folder_with_replacement(folder):
    data = DrawnImagesDataset(data_root=str(folder), count=7, draw_seed=2)
    drawn = [int(data.get_data_info(i)['img_path'][-5]) for i in range(len(data))]
    assert drawn == draw_subset(3, 7, 2) and len(set(drawn)) == 3


@pytest.mark.parametrize('settings', [{'indices': [0]}, {'count': 0}])
def test_a_draw_that_is_none_is_named(folder, settings):
    with pytest.raises(UserError, match='draws its own indices'):
        DrawnImagesDataset(data_root=str(folder), **settings)


def test_the_published_augmentation_gives_crops(folder):
    from mmengine.config import Config
    from scripts import ROOT

    path = ROOT / 'configs/clip_dinoiser/clip_dinoiser_vit-b16_laion2b_100e_imagenet1k-448.py'
    settings = Config.fromfile(path).train_dataloader.dataset
    settings.dataset.data_root = str(folder)
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build(settings)
    assert len(data) == 1000
    sample = data[0]
    assert sample['inputs'].shape == (3, 448, 448)
    assert 'gt_sem_seg' not in sample['data_samples']
    assert torch.equal(data[0]['inputs'], sample['inputs'])


def test_brightness_is_a_factor_in_the_span():
    np.random.seed(0)
    image = np.full((2, 2, 3), 100, np.uint8)
    seen = [int(RandomBrightness()({'img': image})['img'][0, 0, 0]) for _ in range(200)]
    assert 50 <= min(seen) < 60 and 140 < max(seen) <= 150
    assert image[0, 0, 0] == 100
    for span in ((1.0,), (1.2, 0.8), (-0.1, 1)):
        with pytest.raises(UserError, match='span must be two factors'):
            RandomBrightness(span)
