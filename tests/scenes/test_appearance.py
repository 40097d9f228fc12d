"""Drawn scenes look drawn at any size and quality; photographs and noise do not."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from ovseg.scenes.appearance import (
    FARTHEST,
    cells_of_scenes,
    looks_drawn,
    strangeness,
    write_cells,
)
from ovseg.scenes.demo import demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.weight_files import read_state_dict


def as_jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return np.asarray(Image.open(buffer))


def cloudy(rng, colors):
    """Noise with the spectrum of photographs, between two colours."""
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)) + 1 / 256
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((256, 256))) / frequency).real
    share = (field - field.min()) / np.ptp(field)
    return share[..., None] * colors[0] + (1 - share[..., None]) * colors[1]


def photo_like(rng):
    """One picture of each kind: name -> (H, W, 3) uint8."""
    colors = rng.uniform(0, 255, (2, 3))
    ramp = np.linspace(0, 1, 320)[None, :, None]
    gradient = np.ones((240, 1, 1)) * (ramp * colors[0] + (1 - ramp) * colors[1])
    blurred = cv2.GaussianBlur(rng.standard_normal((240, 320, 3)), (0, 0), 5)
    pictures = {
        'noise': rng.integers(0, 256, (240, 320, 3)),
        'gradient': gradient,
        'gradient with grain': gradient + rng.normal(0, 12, gradient.shape),
        'blurred noise': (blurred - blurred.min()) / np.ptp(blurred) * 255,
        'clouds': cloudy(rng, colors),
        'grey clouds': cloudy(rng, np.array([[20.0] * 3, [235.0] * 3])),
    }
    return {name: np.clip(p, 0, 255).astype(np.uint8) for name, p in pictures.items()}


@pytest.mark.parametrize('split', ['val', 'heldout', 'phrases', 'demo'])
def test_no_scene_is_taken_for_a_photograph(split):
    for index in range(50):
        scene = sample_scene(split, index)
        image = draw(scene).image
        assert looks_drawn(image), index
        if index % 2:
            assert looks_drawn(as_jpeg(image, 30 + index)), index
        else:
            small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
            assert looks_drawn(small), index


@pytest.mark.parametrize('zoom', [0.4, 0.7, 1, 1.5, 2, 4])
def test_the_demo_scene_looks_drawn_at_any_size_and_quality(zoom):
    image = draw(demo_scene(), whole(demo_scene(), zoom)).image
    assert looks_drawn(image)
    for quality in (95, 75, 50):
        assert looks_drawn(as_jpeg(image, quality))


def test_nothing_like_a_photograph_looks_drawn():
    rng = np.random.default_rng(0)
    for _ in range(10):
        for name, picture in photo_like(rng).items():
            for size in ((320, 240), (96, 72), (1200, 900)):
                assert not looks_drawn(cv2.resize(picture, size)), name


def test_what_is_too_small_to_say_is_not_doubted():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (40, 50), (3, 5000), (1, 60_000)):
        assert looks_drawn(rng.integers(0, 256, (*size, 3), dtype=np.uint8))


def test_stored_cells_are_those_of_scenes(tmp_path):
    write_cells(tmp_path / 'cells.safetensors', scenes=4)
    cells = read_state_dict(tmp_path / 'cells.safetensors')['cells'].numpy()
    drawn = cells_of_scenes(4)
    assert len(cells) == len(drawn)
    nearest = np.abs(cells[:50, None].astype(float) / 10 - drawn[None]).max(-1).min(1)
    assert nearest.max() <= 0.051
    assert strangeness(draw(sample_scene('train', 1)).image) < FARTHEST
