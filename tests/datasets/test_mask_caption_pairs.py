"""Region-noun pairs: where masks come from, and what is said about files that do not fit."""

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg.datasets import MaskCaptionPairs, SeededSamplesDataset
from ovseg.datasets.pair_files import Pair, write_pairs
from ovseg.datasets.region_views import PUBLISHED_BLANK
from ovseg.errors import UserError

CLIP_MEAN = (123, 117, 104)


def make_pairs(folder, fill=PUBLISHED_BLANK, with_masks=True, size=(40, 40), mask_size=None):
    """Two regions: a red square in the upper left corner, a blue lower half."""
    pairs = []
    for name, noun, color, part in (
        ('a', 'square', (250, 10, 10), np.s_[:20, :20]),
        ('b', 'half', (10, 10, 250), np.s_[20:, :]),
    ):
        mask = np.zeros(size, np.uint8)
        mask[part] = 255
        image = np.where(mask[..., None] > 0, np.uint8(color), np.uint8(fill))
        Image.fromarray(image).save(folder / f'{name}.png')
        stored = Image.fromarray(mask)
        (stored.resize(mask_size) if mask_size else stored).save(folder / f'{name}_mask.png')
        pairs.append(Pair(f'{name}.png', noun, f'{name}_mask.png' if with_masks else ''))
    write_pairs(folder / 'pairs.csv', pairs)
    return folder / 'pairs.csv'


def test_a_sample_is_a_view_with_its_noun_and_mask(tmp_path):
    data = MaskCaptionPairs(make_pairs(tmp_path), size=20, augment=False)
    assert len(data) == 2
    sample = data[0]
    assert sample['caption'] == 'square'
    assert sample['inputs'].dtype == torch.uint8 and sample['inputs'].shape == (3, 20, 20)
    assert sample['masks'].dtype == torch.bool and sample['masks'].shape == (1, 20, 20)
    assert sample['masks'][0, :10, :10].all() and sample['masks'].sum() == 100
    assert sample['inputs'][:, 2, 2].tolist() == [250, 10, 10]


def test_masks_by_colour_count_mixed_borders_as_kept(tmp_path):
    table = make_pairs(tmp_path, with_masks=False)
    kept = MaskCaptionPairs(table, mask_from='colour', size=20, augment=False)[0]['masks'][0]
    assert kept[:10, :10].all() and not kept[13:, 13:].any()
    assert kept.sum() > 100


def test_masks_by_colour_stop_at_images_painted_with_another_colour(tmp_path):
    table = make_pairs(tmp_path, fill=CLIP_MEAN)
    with pytest.raises(UserError, match='none of the first 2 images'):
        MaskCaptionPairs(table, mask_from='colour', size=20)
    for settings in (dict(mask_from='file'), dict(mask_from='colour', blank=CLIP_MEAN)):
        kept = MaskCaptionPairs(table, size=20, augment=False, **settings)[0]['masks']
        assert kept[0, :10, :10].all() and not kept.all()


def test_a_region_may_fill_its_image_if_others_do_not(tmp_path):
    table = make_pairs(tmp_path, with_masks=False)
    Image.new('RGB', (40, 40), (1, 2, 3)).save(tmp_path / 'a.png')
    data = MaskCaptionPairs(table, mask_from='colour', size=20)
    assert data[0]['masks'].all() and not data[1]['masks'].all()


def test_fine_tuning_reads_no_masks(tmp_path):
    table = make_pairs(tmp_path, with_masks=False)
    assert set(MaskCaptionPairs(table, mask_from='none', size=20)[1]) == {'inputs', 'caption'}


def test_paths_start_from_the_table_or_from_the_root_given(tmp_path):
    table = make_pairs(tmp_path)
    (tmp_path / 'elsewhere').mkdir()
    moved = table.rename(tmp_path / 'elsewhere' / 'pairs.csv')
    with pytest.raises(UserError, match='data_root'):
        MaskCaptionPairs(moved, size=20)[0]
    assert MaskCaptionPairs(moved, data_root=tmp_path, size=20)[0]['caption'] == 'square'


def test_seeded_views_are_a_function_of_round_and_index(tmp_path):
    inner = MaskCaptionPairs(make_pairs(tmp_path), size=20, scale=(0.3, 1.0))
    data = SeededSamplesDataset(inner, seed=3)
    data.full_init()
    first, again = data[1], data[1]
    assert torch.equal(first['inputs'], again['inputs'])
    assert torch.equal(first['masks'], again['masks'])
    data.set_epoch(1)
    assert not torch.equal(first['inputs'], data[1]['inputs'])


def test_what_does_not_fit_is_explained(tmp_path):
    table = make_pairs(tmp_path, with_masks=False)
    with pytest.raises(UserError, match="mask_from='colour'"):
        MaskCaptionPairs(table)
    with pytest.raises(UserError, match="file, colour, none, got 'color'"):
        MaskCaptionPairs(table, mask_from='color')
    table = make_pairs(tmp_path, mask_size=(30, 20))
    with pytest.raises(UserError, match='is 20 x 30 pixels, its image 40 x 40'):
        MaskCaptionPairs(table)[0]
    (tmp_path / 'b.png').write_bytes(b'no image')
    with pytest.raises(UserError, match='b.png is not an image'):
        MaskCaptionPairs(table)[1]
