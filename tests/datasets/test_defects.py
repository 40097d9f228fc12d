from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scratched import write_scratched

from ovseg.datasets import DefectFolderDataset
from ovseg.errors import UserError


@pytest.fixture
def root(tmp_path):
    for name in ('grass', 'sand'):
        write_scratched(tmp_path, name, whole=1, scratched=2)
    return tmp_path


def test_images_come_by_object_and_defect_with_their_masks(root):
    dataset = DefectFolderDataset(str(root), objects=['sand'])
    masks = [dataset[i]['data_samples'].gt_sem_seg.data[0] for i in range(len(dataset))]
    assert len(dataset) == 3 and dataset.metainfo['classes'] == ('normal', 'abnormal')
    assert not masks[0].any() and masks[1].unique().tolist() == masks[2].unique().tolist() == [0, 1]
    wanted = np.asarray(Image.open(root / 'sand/ground_truth/scratch/001_mask.png')) > 0
    assert np.array_equal(masks[1].numpy(), wanted)
    assert len(DefectFolderDataset(str(root))) == 6


def test_what_is_missing_or_does_not_fit_is_told(root):
    with pytest.raises(FileNotFoundError, match='no folder OBJECT/test/DEFECT'):
        DefectFolderDataset(str(root / 'grass'))
    with pytest.raises(UserError, match=r"names 'gras', which has no folder.*grass"):
        DefectFolderDataset(str(root), objects=['gras'])
    mask = root / 'grass/ground_truth/scratch/001_mask.png'
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(mask)
    with pytest.raises(UserError, match=r'001_mask.png is 8 x 9 pixels, its image .* 64 x 64'):
        DefectFolderDataset(str(root))[1]
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r'001.png has no mask; it needs .*001_mask.png'):
        DefectFolderDataset(str(root))
