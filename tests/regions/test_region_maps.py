from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from tiny_companions import SAM, randomised

from ovseg.errors import UserError
from ovseg.regions import RegionFolder, SAMRegions
from ovseg.regions.region_maps import paint_masks

IMAGE = np.zeros((5, 7, 3), np.uint8)
REGIONS = np.arange(35).reshape(5, 7) % 6


def written(folder, name, content=REGIONS):
    path = folder / name
    if path.suffix == '.png':
        cv2.imwrite(str(path), content)
    elif path.suffix == '.npz':
        np.savez(path, instance_mask=content)
    else:
        np.save(path, content)
    return path


@pytest.mark.parametrize(
    ('name', 'dtype'),
    [
        ('photo.png', np.uint8),
        ('photo.png', np.uint16),
        ('photo.npy', np.int64),
        ('photo.npy', np.int16),
        ('photo.npz', np.int32),
    ],
)
def test_a_map_is_found_by_the_name_of_its_image(name, dtype, tmp_path):
    scale = 1000 if np.dtype(dtype).itemsize > 1 else 40
    written(tmp_path, name, (REGIONS * scale).astype(dtype))
    found = RegionFolder(tmp_path).regions(IMAGE, 'somewhere/photo.jpg')
    assert found.dtype == np.int64 and np.array_equal(found, REGIONS * scale)


def test_maps_mirror_the_folders_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate(('x', 'y/x', '')):
        (tmp_path / 'maps' / folder).mkdir(parents=True, exist_ok=True)
        written(tmp_path / 'maps' / folder, '1.npy', np.full_like(REGIONS, number))
    source = RegionFolder('maps')
    names = ('photos/x/1.jpg', '../photos/y/x/1.jpg', 'photos/y/1.jpg')
    assert [source.regions(IMAGE, name)[0, 0] for name in names] == [0, 1, 2]


def test_a_map_that_may_be_anothers_is_refused(tmp_path):
    written(tmp_path, '1.png', REGIONS.astype(np.uint8))
    source = RegionFolder(tmp_path)
    for name in ('x/1.jpg', 'copies/1.jpg', 'x/1.jpg'):
        assert np.array_equal(source.regions(IMAGE, name), REGIONS)
    for name in ('y/1.jpg', 'x/1.webp'):
        with pytest.raises(UserError, match=rf'x/1\.jpg and {name} both take .*1\.png'):
            source.regions(IMAGE + 1, name)
    written(tmp_path, '1.npy')
    with pytest.raises(UserError, match=r'1\.npy and .*1\.png are both region maps for 1\.jpg'):
        source.regions(IMAGE, 'x/1.jpg')


@pytest.mark.parametrize('name', ['photo.npy', 'photo.npz'])
def test_a_stack_of_masks_is_a_map_in_which_later_ones_lie_over_earlier_ones(name, tmp_path):
    masks = np.zeros((3, 5, 7), bool)
    masks[0, :3], masks[1, 1, :4], masks[2, 1, 3:] = True, True, True
    written(tmp_path, name, masks)
    found = RegionFolder(tmp_path).regions(IMAGE, 'photo.jpg')
    assert found.tolist() == [[1] * 7, [2] * 3 + [3] * 4, [1] * 7, [0] * 7, [0] * 7]
    written(tmp_path, name, masks[:, :, :6])
    with pytest.raises(UserError, match=r'shape \(5, 6\), but its image is 5 x 7 pixels'):
        RegionFolder(tmp_path).regions(IMAGE, 'photo.jpg')


def test_every_trouble_with_files_is_one_sentence(tmp_path):
    source = RegionFolder(tmp_path)
    with pytest.raises(UserError, match='by the file name of the image, which this image has not'):
        source.regions(IMAGE)
    with pytest.raises(UserError, match=r'no region map for photo\.jpg; .*photo\.npy.*photo\.png'):
        source.regions(IMAGE, 'photo.jpg')
    written(tmp_path, 'small.npy', REGIONS[:3])
    with pytest.raises(UserError, match=r'shape \(3, 7\), but its image is 5 x 7 pixels'):
        source.regions(IMAGE, 'small.jpg')
    written(tmp_path, 'colour.png', IMAGE)
    with pytest.raises(UserError, match=r'shape \(5, 7, 3\)'):
        source.regions(IMAGE, 'colour.jpg')
    written(tmp_path, 'real.npy', REGIONS / 2)
    with pytest.raises(UserError, match='must hold whole numbers .*float64'):
        source.regions(IMAGE, 'real.jpg')
    written(tmp_path, 'below.npy', REGIONS - 1)
    with pytest.raises(UserError, match='must hold whole numbers .*from -1'):
        source.regions(IMAGE, 'below.jpg')
    (tmp_path / 'broken.npy').write_bytes(b'nothing')
    with pytest.raises(UserError, match='cannot be read as a region map'):
        source.regions(IMAGE, 'broken.jpg')
    np.savez(tmp_path / 'other.npz', labels=REGIONS)
    with pytest.raises(UserError, match='cannot be read as a region map'):
        source.regions(IMAGE, 'other.jpg')
    np.save(tmp_path / 'objects.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match='cannot be read as a region map'):
        source.regions(IMAGE, 'objects.jpg')
    with pytest.raises(UserError, match=r"regions\.folder='.*nowhere' does not exist"):
        RegionFolder(tmp_path / 'nowhere')


def test_larger_masks_lie_over_smaller_ones():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :, :3] = True
    masks[1, 0, :] = True
    masks[2, 3, 3] = True
    wanted = [[3, 3, 3, 2], [3, 3, 3, 0], [3, 3, 3, 0], [3, 3, 3, 1]]
    assert paint_masks(list(masks), (4, 4)).tolist() == wanted
    assert not paint_masks([], (2, 3)).any()


@pytest.fixture(scope='module')
def sam():
    source = SAMRegions(
        sam={'model': SAM, 'pretrained': 'random'},
        generator={
            'points_per_side': 3,
            'pred_iou_thresh': -100.0,
            'stability_score_thresh': 0.0,
        },
    )
    randomised(source.sam)
    return source


def test_sams_masks_become_a_map_of_the_image(sam):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    found = sam.regions(image)
    assert found.shape == (20, 31) and found.min() >= 0 and found.max() > 0
    assert np.array_equal(found, sam.regions(image.copy(), 'any.jpg'))
    masks = sam.generator._generator.generate(image)
    assert np.array_equal(found, paint_masks([m['segmentation'] for m in masks], (20, 31)))


@pytest.mark.parametrize('layers', [0, 1])
@pytest.mark.parametrize('size', [(1, 3000), (3000, 1), (3, 2000), (1, 1)])
def test_thin_pictures_give_a_map_of_their_size(size, layers):
    """Their shorter side vanishes in segment-anything's frame, and its crops are empty."""
    settings = {'points_per_side': 2, 'pred_iou_thresh': -100.0, 'stability_score_thresh': 0.0}
    tiny = SAMRegions({'model': 'tiny_sam_scenes'}, {**settings, 'crop_n_layers': layers})
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = tiny.regions(image)
    assert found.shape == size and found.min() >= 0


def test_settings_of_the_generator_are_its_own(sam):
    assert 'points_per_side=3' in str(sam)
    with pytest.raises(UserError, match=r'regions\.generator: .*pointers'):
        SAMRegions({'model': SAM, 'pretrained': 'random'}, {'pointers': 3})


def test_sam_is_frozen(sam):
    assert not any(value.requires_grad for value in sam.parameters())
    assert torch.is_grad_enabled()
