from __future__ import annotations

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.encoders import DenseFeatures, build_dense_encoder
from ovseg.errors import UserError
from ovseg.scores.encoding import encode_images, map_images
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.splicing import splice_cell, splice_features, splice_maps

EVERYTHING = frozenset({'tokens', 'mlp_input', 'keys', 'embedding'})


@pytest.fixture(scope='module')
def encoder():
    return build_dense_encoder(tiny_clip('vit').model.visual, mlp_input_layer=-2)


def spliced_by_loops(maps, boxes, size, cell):
    out = torch.zeros(maps.shape[1], size[0] // cell, size[1] // cell)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            seen = []
            for window, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
                top, left = y * cell - y1, x * cell - x1
                if 0 <= top < y2 - y1 and 0 <= left < x2 - x1:
                    patch = (y2 - y1) // window.shape[1]
                    seen.append(window[:, top // patch, left // patch])
            out[:, y, x] = torch.stack(seen).mean(0)
    return out[None]


@pytest.mark.parametrize('stride', [4, 8, 12, 16])
def test_spliced_maps_are_the_mean_of_the_windows_over_each_cell(encoder, stride):
    settings = InferenceSettings('splice', 16, stride, window_batch=3)
    images = torch.randn(2, 3, 32, 40)
    encodings = encode_images(encoder, images, settings, EVERYTHING)
    cell = splice_cell((8, 8), (stride, stride))[0]
    windows = InferenceSettings('slide', 16, stride)
    for image, encoding in zip(images, encodings, strict=True):
        (plain,) = encode_images(encoder, image[None], windows, EVERYTHING)
        for name in ('patch', 'tokens', 'mlp_input'):
            maps = getattr(plain.features, name)
            wanted = spliced_by_loops(maps, plain.boxes, (32, 40), cell)
            assert torch.allclose(getattr(encoding.features, name), wanted, atol=1e-5)
        assert encoding.features.keys is None and encoding.features.embedding is None
        assert encoding.boxes == [(0, 0, 32, 40)]


@pytest.mark.parametrize('height, width', [(9, 50), (16, 16), (5, 7), (33, 31)])
def test_any_image_size_is_filled_up_to_whole_patches(encoder, height, width):
    settings = InferenceSettings('splice', 16, 8)
    (encoding,) = encode_images(encoder, torch.randn(1, 3, height, width), settings)
    assert encoding.features.patch.shape[2:] == (-(-height // 8), -(-width // 8))
    assert encoding.input_size == (height, width)
    assert torch.isfinite(encoding.features.patch).all()


def test_a_guide_sees_the_joint_map_and_the_whole_image(encoder):
    seen = []

    def guiding(features, image):
        seen.append((tuple(features.patch.shape), tuple(image.shape)))
        return features

    encode_images(
        encoder, torch.randn(2, 3, 32, 40), InferenceSettings('splice', 16, 8), guiding=guiding
    )
    assert seen == [((1, 24, 4, 5), (1, 3, 32, 40))] * 2
    seen.clear()
    encode_images(
        encoder, torch.randn(2, 3, 32, 40), InferenceSettings('slide', 16, 16), guiding=guiding
    )
    assert seen == [((8, 24, 2, 2), (8, 3, 16, 16)), ((4, 24, 2, 2), (4, 3, 16, 16))]


@pytest.mark.parametrize('mode', ['whole', 'splice'])
def test_maps_for_training_are_those_of_inference(encoder, mode):
    sizes = {} if mode == 'whole' else {'crop_size': 16, 'stride': 8}
    settings = InferenceSettings(mode, window_batch=5, **sizes)
    images = torch.randn(2, 3, 32, 24)
    maps = map_images(encoder.mlp_input, encoder, images, settings)
    encodings = encode_images(encoder, images, settings, frozenset({'mlp_input'}))
    wanted = torch.cat([encoding.features.mlp_input for encoding in encodings])
    assert torch.allclose(maps, wanted, atol=1e-5)


def test_fields_without_a_joint_form_are_left_out():
    features = DenseFeatures(patch=torch.ones(2, 3, 2, 2), keys=torch.ones(2, 4, 3))
    joint = splice_features(features, [(0, 0, 2, 2), (0, 1, 2, 3)], (2, 3), (1, 1))
    assert joint.keys is None and joint.patch.shape == (1, 3, 2, 3)
    assert torch.equal(
        splice_maps(features.patch, [(0, 0, 2, 2)] * 2, (2, 2), (1, 1)), torch.ones(1, 3, 2, 2)
    )


def test_windows_off_the_patch_grid_are_named(encoder):
    with pytest.raises(UserError, match=r'crop_size \(12, 12\) must be multiples of the patch'):
        encode_images(encoder, torch.randn(1, 3, 32, 32), InferenceSettings('splice', 12, 4))
    resnet = build_dense_encoder(tiny_clip('resnet').model.visual)
    with pytest.raises(UserError, match='needs an encoder on a patch grid'):
        encode_images(resnet, torch.randn(1, 3, 64, 64), InferenceSettings('splice', 32, 32))
