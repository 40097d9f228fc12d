"""Deformable attention by table rows, against plain loops and against mmcv's module."""

from __future__ import annotations

import math

import torch
from mmcv.ops import MultiScaleDeformableAttention

import ovseg.compat  # noqa: F401  # has mmcv.ops import without its extension
from ovseg.training.heads.deformable_sampling import BagAttention, sample_values

SHAPES = [(2, 3), (4, 2)]


def in_loops(values, places, weights):
    """(Q, heads, D): each sample from its four pixels, zeros outside."""
    _, heads, channels = values.shape
    found = torch.zeros(len(places), heads, channels)
    start = 0
    for level, (height, width) in enumerate(SHAPES):
        for query in range(len(places)):
            for head in range(heads):
                for point, weight in enumerate(weights[query, head, level]):
                    x, y = places[query, head, level, point] * torch.tensor([width, height]) - 0.5
                    left, top = math.floor(x), math.floor(y)
                    for row in (top, top + 1):
                        for column in (left, left + 1):
                            if 0 <= row < height and 0 <= column < width:
                                near = (1 - abs(x - column)) * (1 - abs(y - row)) * weight
                                pixel = values[start + row * width + column, head]
                                found[query, head] += near * pixel
        start += height * width
    return found


def test_values_are_those_of_plain_loops():
    torch.manual_seed(0)
    values, places = torch.randn(2, 14, 2, 3), torch.rand(2, 5, 2, 2, 4, 2) * 2 - 0.5
    weights = torch.rand(2, 5, 2, 2, 4)
    found = sample_values(values, SHAPES, places, weights).view(2, 5, 2, 3)
    for image in range(2):
        wanted = in_loops(values[image], places[image], weights[image])
        torch.testing.assert_close(found[image], wanted, rtol=1e-5, atol=1e-5)


def test_the_module_is_mmcvs_with_its_gradients():
    torch.manual_seed(0)
    settings = dict(embed_dims=8, num_heads=2, num_levels=2, num_points=3, dropout=0.0)
    ours, theirs = (
        kind(**settings, batch_first=True) for kind in (BagAttention, MultiScaleDeformableAttention)
    )
    torch.nn.init.normal_(ours.sampling_offsets.weight, std=0.5)
    torch.nn.init.normal_(ours.attention_weights.weight)
    theirs.load_state_dict(ours.state_dict())
    query, position = torch.randn(2, 14, 8), torch.randn(2, 14, 8)
    rest = dict(
        query_pos=position,
        reference_points=torch.rand(2, 14, 2, 2),
        spatial_shapes=torch.tensor(SHAPES),
        level_start_index=torch.tensor([0, 6]),
    )
    found, wanted = ours(query, **rest), theirs(query, **rest)
    torch.testing.assert_close(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(
            dict(ours.named_parameters())[name].grad, value.grad, rtol=1e-4, atol=1e-4
        )
