"""The roofline counts and repeats the products that a model runs."""

from __future__ import annotations

import pytest
import torch
from scripts import ROOT, load_script
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

roofline = load_script('roofline', 'benchmarks')
CONFIG = ROOT / 'tests' / 'data' / 'configs' / 'random_tiny.py'


def recorded(run):
    """The products of a call."""
    with torch.inference_mode(), roofline.Recorder() as recorder:
        run()
    return list(recorder.products.values())


def test_equal_products_are_counted_and_others_kept_apart():
    layers = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 8), nn.Conv2d(1, 1, 1))
    rows = torch.rand(5, 4)
    found = recorded(lambda: (layers[:3](rows), layers[3](torch.rand(1, 6, 7)[None])))
    assert sorted((each.count, each.flop) for each in found) == [
        (1, 2 * 6 * 7),
        (1, 2 * 5 * 4 * 8),
        (2, 2 * 5 * 4 * 8),
    ]


def test_attention_is_two_products():
    heads = torch.rand(1, 2, 5, 4)
    (found,) = recorded(lambda: F.scaled_dot_product_attention(heads, heads, heads))
    assert found.flop == 2 * (2 * 2 * 5 * 5 * 4)


def test_a_product_is_repeated_with_numbers_that_lie_as_they_did():
    left, right = torch.rand(6, 3).T, torch.rand(1, 4).expand(6, 4)
    (found,) = recorded(lambda: left @ right)
    made = [value.made() for value in found.args]
    assert [value.stride() for value in made] == [left.stride(), right.stride()]
    assert [value.shape for value in made] == [left.shape, right.shape]
    found.measure()
    assert len(found.seconds) == 1


def test_a_models_products_are_those_that_torch_counts(monkeypatch):
    counted = []
    encode = roofline.Loaded.encode

    def counting(*args):
        if counted:
            return encode(*args)
        # Taken apart, or torch would count no fused attention of a CPU.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            found = encode(*args)
        counted.append(counter.get_total_flops())
        return found

    monkeypatch.setattr(roofline.Loaded, 'encode', counting)
    figures = roofline.measure(str(CONFIG), 2, weights=())
    assert 1e9 * figures.gflop == pytest.approx(counted[0])
    assert len(figures.products) == len(figures.encoder) == len(figures.labels) == 2
    assert min(figures.ratios) > 1
    assert figures.row()[0] == str(CONFIG) and len(figures.row()) == len(roofline._HEADER)
