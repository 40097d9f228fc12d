"""Id maps as PNG files of COCO's panoptic format."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ovseg.visualization import save_panoptic_png


def test_ids_come_back_from_red_green_and_blue(tmp_path):
    ids = np.array([[0, 1, 255], [256, 70000, 256**3 - 1]], np.int32)
    path = save_panoptic_png(ids, tmp_path / 'new' / 'ids.png')
    with Image.open(path) as picture:
        assert picture.mode == 'RGB'
        red, green, blue = np.asarray(picture).astype(int).transpose(2, 0, 1)
    assert (red + 256 * green + 256**2 * blue == ids).all()


@pytest.mark.parametrize('ids', [[[-1]], [[256**3]]])
def test_ids_that_do_not_fit_are_refused(tmp_path, ids):
    with pytest.raises(ValueError, match='ids must lie in'):
        save_panoptic_png(np.array(ids), tmp_path / 'ids.png')
    assert not list(tmp_path.iterdir())
