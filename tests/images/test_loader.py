"""Data sets see in every image file what the Python interface sees."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from ovseg.errors import UserError
from ovseg.images.reading import load_rgb
from ovseg.registry import TRANSFORMS


def picture(mode='RGB', size=(37, 29)):
    random = np.random.default_rng(3)
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels) if channels > 1 else size[::-1]
    return Image.fromarray(random.integers(0, 256, shape).astype(np.uint8), mode)


def high_depth(size=(37, 29)):
    values = np.random.default_rng(4).integers(0, 65536, size[::-1])
    return Image.fromarray(values.astype(np.uint16))


def one_colour_clear():
    image = picture().quantize(16)
    image.info['transparency'] = 5
    return image


FILES = {
    'colour.png': picture,
    'colour.bmp': picture,
    'grey.png': lambda: picture('L'),
    'palette.png': lambda: picture().quantize(16),
    'one_bit.png': lambda: picture('L').convert('1'),
    'clear.png': lambda: picture('RGBA'),
    'grey_clear.png': lambda: picture('LA'),
    'one_colour_clear.png': one_colour_clear,
    'four_inks.tif': lambda: picture('CMYK'),
    'four_inks.jpg': lambda: picture('CMYK'),
    'high_depth.png': high_depth,
    'float.tif': lambda: Image.fromarray(np.asarray(picture('L'), np.float32) / 255),
    'palette.gif': lambda: picture().quantize(16),
    'turned.jpg': picture,
}


def loaded(path, **settings):
    with DefaultScope.overwrite_default_scope('ovseg'):
        loader = TRANSFORMS.build({'type': 'LoadImageFromFile', **settings})
    return loader({'img_path': str(path)})


@pytest.mark.parametrize('name', FILES)
def test_a_data_set_reads_the_pixels_of_the_python_interface(name, tmp_path):
    exif = Image.Exif()
    exif[274] = 6 if name.startswith('turned') else 1
    options = {'exif': exif} if name.endswith('.jpg') else {}
    FILES[name]().save(tmp_path / name, **options)
    expected = load_rgb(tmp_path / name)
    sample = loaded(tmp_path / name)
    assert sample['img_shape'] == sample['ori_shape'] == expected.shape[:2]
    assert sample['img'].dtype == np.uint8 and sample['img'].flags.c_contiguous
    np.testing.assert_array_equal(sample['img'][..., ::-1], expected)


def test_settings_of_mmcvs_loader_hold(tmp_path):
    picture('RGBA').save(tmp_path / 'clear.png')
    assert loaded(tmp_path / 'clear.png', to_float32=True)['img'].dtype == np.float32
    assert loaded(tmp_path / 'clear.png', color_type='unchanged')['img'].shape == (29, 37, 4)


def test_a_damaged_file_with_transparency_is_one_sentence(tmp_path):
    picture('RGBA').save(tmp_path / 'clear.png')
    content = (tmp_path / 'clear.png').read_bytes()
    (tmp_path / 'clear.png').write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r'clear\.png is damaged or cut off'):
        loaded(tmp_path / 'clear.png')
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / 'none.png')
