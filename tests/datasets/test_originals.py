"""The image at its own size goes along with the resized one."""

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from ovseg.datasets import KeepOriginalImage, PackWithOriginal
from ovseg.datasets.base import LOADERS
from ovseg.datasets.originals import pipeline_with_original
from ovseg.engine import augmented_pipeline
from ovseg.errors import UserError
from ovseg.scenes import ScenesDataset

STEPS = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Resize', 'scale': (8, 8)},
    {'type': 'PackSegInputs'},
]


def test_original_is_rgb_and_untouched_by_later_steps():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    results = KeepOriginalImage()({'img': image, 'img_path': 'a.png'})
    results['img'] = image[:2, :2]
    sample = PackWithOriginal(meta_keys=())(results)['data_samples']
    assert np.array_equal(sample.original_image, image[..., ::-1])


def test_scenes_keep_their_own_size():
    with DefaultScope.overwrite_default_scope('ovseg'):
        kept = ScenesDataset(num_scenes=1, resize={'scale': (96, 96)}, keep_original=True)[0]
        plain = ScenesDataset(num_scenes=1)[0]
    assert tuple(kept['inputs'].shape[1:]) == (96, 96)
    drawn = plain['inputs'].flip(0).permute(1, 2, 0).numpy()
    assert np.array_equal(kept['data_samples'].original_image, drawn)


def test_nothing_is_kept_unless_asked():
    assert pipeline_with_original(STEPS, False, LOADERS) == STEPS


@pytest.mark.parametrize('steps', [STEPS[1:], STEPS[:2], [STEPS[0], Compose([])]])
def test_pipelines_without_loader_or_packer_are_refused(steps):
    with pytest.raises(ValueError, match='keep_original needs a pipeline'):
        pipeline_with_original(steps, True, LOADERS)


def test_packing_without_keeping_says_what_is_missing():
    with pytest.raises(UserError, match='needs KeepOriginalImage before it'):
        PackWithOriginal()({'img': np.zeros((2, 2, 3), np.uint8)})


def test_only_8_bit_colour_images_are_kept():
    with pytest.raises(UserError, match=r'uint8 image, got float32 of shape \(2, 2, 3\)'):
        KeepOriginalImage()({'img': np.zeros((2, 2, 3), np.float32)})


def test_test_time_augmentation_keeps_the_image_before_it_is_resized_and_flipped():
    steps = augmented_pipeline(STEPS, keep_original=True)
    assert [step['type'] for step in steps] == [
        'LoadImageFromFile',
        'KeepOriginalImage',
        'TestTimeAug',
    ]
    assert steps[2]['transforms'][-1] == [{'type': 'PackWithOriginal'}]
