from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from tiny_sams import tiny_sam

from ovseg.encoders.sam_encoder import FrameResize, SAMEncoder, resize_to_multiple


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def embedding_of(encoder, image):
    frame = encoder.prepare(image)
    tokens = encoder.trunk(frame)
    mixed = encoder.last_attention(tokens).apply(encoder.queries_at_once())
    return encoder.embedding(tokens, mixed), frame


@pytest.mark.parametrize('size', [(64, 64), (30, 50), (90, 41), (1, 1), (3, 200)])
@pytest.mark.parametrize('megabytes', [1e-9, 0.003, None])
@torch.no_grad()
def test_embedding_is_that_of_segment_anythings_predictor(size, megabytes):
    encoder = SAMEncoder(tiny_sam(), megabytes)
    ours, frame = embedding_of(encoder, picture(*size))
    predictor = SamPredictor(encoder.sam)
    predictor.set_image(picture(*size))
    assert torch.allclose(ours, predictor.features, atol=1e-5)
    assert (frame.input_size, frame.image_size) == (predictor.input_size, size)


def test_attention_rows_are_those_of_the_block():
    loaded = tiny_sam()
    encoder = SAMEncoder(loaded)
    tokens = torch.randn(1, 8, 8, 16)
    block = loaded.model.image_encoder.blocks[-1]
    with torch.no_grad():
        attention = encoder.last_attention(tokens)
        weights = attention.weights(slice(0, 64))
        theirs = block.attn(block.norm1(tokens)).flatten(0, 2)
        mixed = (weights @ attention.values).transpose(0, 1).flatten(1)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 64))
    assert torch.allclose(block.attn.proj(mixed), theirs, atol=1e-6)
    picked = torch.tensor([5, 63, 0])
    assert torch.allclose(attention.weights(picked), weights[:, picked], atol=1e-7)


def test_a_block_holds_as_many_queries_as_its_memory():
    # Two heads, 64 keys, 4 bytes: 512 bytes a query.
    assert SAMEncoder(tiny_sam(), 5120 / 2**20).queries_at_once() == 10
    assert SAMEncoder(tiny_sam(), 1e-9).queries_at_once() == 1


def test_grid_counts_whole_patches_of_the_image_and_never_vanishes():
    encoder = SAMEncoder(tiny_sam())
    assert encoder.grid((64, 47)) == (8, 5)
    assert encoder.grid((3, 64)) == (1, 8)


def test_sides_are_stretched_up_to_a_multiple():
    assert resize_to_multiple(picture(20, 32), 16).shape == (32, 32, 3)
    image = picture(32, 48)
    assert np.array_equal(resize_to_multiple(image, 16), image)


@pytest.mark.parametrize(
    ('size', 'wanted'), [((1, 20000), (1, 256)), ((20000, 1), (256, 1)), ((3, 5), (154, 256))]
)
def test_no_side_of_a_thin_picture_vanishes(size, wanted):
    assert FrameResize(256).apply_image(np.full((*size, 3), 9, np.uint8)).shape == (*wanted, 3)
