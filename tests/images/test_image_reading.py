"""Every kind of image becomes upright RGB, or one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from ovseg.errors import UserError
from ovseg.images.reading import ImageBytes, decode_rgb, find_images, load_rgb, name_of

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [90, 0, 7], [255, 255, 255]]])
RGB = RGB.astype(np.uint8)
GREY = np.array([[0, 100, 255], [3, 200, 50]], np.uint8)


def saved(tmp_path, picture: Image.Image, name: str = 'image.png', **settings) -> str:
    picture.save(tmp_path / name, **settings)
    return str(tmp_path / name)


def test_rgb_file(tmp_path):
    assert (load_rgb(saved(tmp_path, Image.fromarray(RGB))) == RGB).all()


def test_grey_file_has_three_equal_channels(tmp_path):
    image = load_rgb(saved(tmp_path, Image.fromarray(GREY)))
    assert (image == GREY[..., None]).all()


def test_black_and_white_file(tmp_path):
    image = load_rgb(saved(tmp_path, Image.fromarray(GREY > 90)))
    assert (image[..., 0] == np.where(GREY > 90, 255, 0)).all()


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.dstack([RGB, np.array([[255, 0, 128], [255, 255, 255]], np.uint8)])
    image = load_rgb(saved(tmp_path, Image.fromarray(rgba)))
    assert image[0].tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 255]]


def test_palette_file_with_a_transparent_colour(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([200, 10, 20, 0, 0, 0])
    image = load_rgb(saved(tmp_path, picture, transparency=1))
    assert image.tolist() == [[[200, 10, 20], [255, 255, 255]]]


def test_cmyk_file_keeps_its_colours(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    path = saved(tmp_path, Image.fromarray(red).convert('CMYK'), 'image.jpg', quality=95)
    assert np.abs(load_rgb(path).astype(int) - red).max() < 8


def test_16_bit_grey_file_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 25700, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values))
    assert load_rgb(path)[0, :, 0].tolist() == [0, 1, 100, 255]


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bit_colour_file(tmp_path, suffix):
    path = str(tmp_path / f'image.{suffix}')
    cv2.imwrite(path, RGB[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(load_rgb(path).astype(int) - RGB).max() <= 1


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_bytes_of_a_file_are_read_as_the_file_is(tmp_path, suffix):
    path = str(tmp_path / f'image.{suffix}')
    cv2.imwrite(path, RGB[..., ::-1].astype(np.uint16) * 257)
    image = ImageBytes((tmp_path / f'image.{suffix}').read_bytes(), 'table/7')
    assert (load_rgb(image) == load_rgb(path)).all() and name_of(image) == 'table/7'
    for data in (b'', b'no picture', image.data[:20]):
        with pytest.raises(UserError, match='image table/7'):
            load_rgb(ImageBytes(data, 'table/7'))


def test_float_tiff(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), 'image.tif')
    assert load_rgb(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation):
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[:10, :20] = 255
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(turned)), exif=exif)
    assert (load_rgb(path) == upright).all()


def test_animated_file_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    path = saved(tmp_path, frames[0], 'image.gif', save_all=True, append_images=frames[1:])
    assert (load_rgb(path) == 10).all()


@pytest.mark.parametrize(
    'source',
    [
        RGB,
        RGB.astype(np.uint16) * 257,
        RGB.astype(np.float32) / 255,
        RGB.astype(np.float64) / 255,
        np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]),
        Image.fromarray(RGB),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        (torch.from_numpy(RGB).permute(2, 0, 1) / 255).bfloat16().float(),
    ],
    ids=['u8', 'u16', 'f32', 'f64', 'rgba', 'pil', 'tensor-u8', 'tensor-f32', 'tensor-rounded'],
)
def test_images_in_memory(source):
    image = load_rgb(source)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize('source', [GREY, GREY[..., None], torch.from_numpy(GREY)[None]])
def test_grey_images_in_memory(source):
    assert (load_rgb(source) == GREY[..., None]).all()


@settings(max_examples=60, deadline=None)
@given(
    array=st_numpy.arrays(
        st.sampled_from([np.uint8, np.uint16, np.bool_]),
        st.one_of(
            st.tuples(st.integers(1, 40), st.integers(1, 40)),
            st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])),
        ),
    )
)
def test_any_shape_that_is_an_image_loads(array):
    image = load_rgb(array)
    assert image.shape == (*array.shape[:2], 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        (np.zeros((4, 4, 2), np.uint8), r'the shape \(4, 4, 2\)'),
        (np.zeros((0, 4, 3), np.uint8), r'the shape \(0, 4, 3\)'),
        (np.zeros((2, 3, 4, 4), np.uint8), r'the shape \(2, 3, 4, 4\)'),
        (np.zeros((4, 4, 3), np.int64), 'int64 values'),
        (np.full((4, 4, 3), 200.0), r'from 200 to 200: wanted is \[0, 1\]'),
        (np.full((4, 4, 3), -0.5), 'from -0.5'),
        (np.full((4, 4, 3), np.nan), 'not finite'),
    ],
)
def test_arrays_that_are_no_images_are_described(source, message):
    with pytest.raises(UserError, match=message):
        load_rgb(source)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match='not dict'):
        load_rgb({})


def test_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / 'photo.jpg').write_bytes(b'')
    with pytest.raises(FileNotFoundError, match=r"no image .*phto\.jpg.* 'photo\.jpg'\?"):
        load_rgb(tmp_path / 'phto.jpg')


@pytest.mark.parametrize('name', ['image.jpg', 'image.png', 'image.webp', 'image.tif'])
def test_truncated_file(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=f'{name} is damaged or cut off|{name} is not an image'):
        load_rgb(path)


@settings(max_examples=150, deadline=None)
@given(
    file_format=st.sampled_from(['PNG', 'JPEG', 'GIF', 'WEBP', 'TIFF', 'BMP', 'PPM']),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    kept=st.floats(0.05, 1),
)
def test_a_damaged_file_loads_or_is_one_sentence(tmp_path_factory, file_format, changes, kept):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=file_format)
    data = bytearray(buffer.getvalue())
    for place, value in changes:
        data[int(place * len(data))] = value
    path = tmp_path_factory.getbasetemp() / 'damaged'
    path.write_bytes(data[: int(kept * len(data))])
    try:
        image = load_rgb(path)
    except UserError as error:
        assert str(path) in str(error)
        assert '\n' not in str(error)
    else:
        assert image.ndim == 3
        assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ('content', 'message'), [(b'', 'an empty file'), (b'just some text', 'not an image')]
)
def test_file_that_is_no_image(tmp_path, content, message):
    (tmp_path / 'image.png').write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_rgb(tmp_path / 'image.png')


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(UserError, match='is a folder'):
        load_rgb(tmp_path)


def test_a_picture_with_too_many_pixels_is_refused_by_size(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new('L', (3000, 1000)))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1_000_000)
    with pytest.raises(UserError, match='more than 2 megapixels'):
        load_rgb(path)


def test_folder_lists_its_images_sorted_and_nothing_else(tmp_path):
    for name in ['b.png', 'a.JPG', 'notes.txt', '.hidden.png']:
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'below.png').mkdir()
    assert [path.name for path in find_images(str(tmp_path))] == ['a.JPG', 'b.png']


def test_glob_looks_below_folders(tmp_path):
    (tmp_path / 'x' / 'y').mkdir(parents=True)
    for name in ['x/1.png', 'x/y/2.png']:
        (tmp_path / name).write_bytes(b'')
    found = find_images(str(tmp_path / '**' / '*.png'))
    assert [path.name for path in found] == ['1.png', '2.png']


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path):
    (tmp_path / 'photo[1].png').write_bytes(b'')
    assert len(find_images(str(tmp_path / 'photo[1].png'))) == 1


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [
        ('nothing.png', 'There is no image'),
        ('*.png', 'No file matches'),
        ('.', 'has no images in it'),
        ('no/where.png', 'There is no folder no either'),
    ],
)
def test_nothing_found_says_what_was_looked_for(tmp_path, monkeypatch, pattern, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        find_images(pattern)


def test_bytes_are_read_as_the_file_that_they_are_of(tmp_path):
    data = Path(saved(tmp_path, Image.fromarray(RGB))).read_bytes()
    assert (decode_rgb(data, 'its name') == RGB).all()
    deep = tmp_path / 'deep.tif'  # 16-bit colour, which Pillow does not know
    cv2.imwrite(str(deep), RGB.astype(np.uint16) * 257)
    assert (decode_rgb(deep.read_bytes(), 'deep.tif') == load_rgb(deep)).all()
    with pytest.raises(UserError, match='The image its name is damaged or cut off'):
        decode_rgb(data[:-30], 'its name')
    with pytest.raises(UserError, match='The image its name is not an image'):
        decode_rgb(b'words', 'its name')
    with pytest.raises(UserError, match='The image its name is empty'):
        decode_rgb(b'', 'its name')
