"""Rows of all processes: in the order of ranks, with gradients for the own ones."""

import pytest
import torch
from torch.nn import functional as F

from ovseg.training import gathering
from ovseg.training.gathering import gather_batch
from ovseg.training.losses import contrastive_loss, sigmoid_pair_loss


def as_rank(monkeypatch, rank, others):
    """This process is `rank` of two; `others` are what the other one gathers, call by call."""
    calls = iter(others)

    def all_gather(own):
        assert not own.requires_grad
        parts = [own, own]
        parts[1 - rank] = next(calls)
        return parts

    monkeypatch.setattr(gathering, 'get_world_size', lambda: 2)
    monkeypatch.setattr(gathering, 'get_rank', lambda: rank)
    monkeypatch.setattr(gathering, 'all_gather', all_gather)


def unit(seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(4, 6, generator=generator), dim=1)


def test_one_process_has_the_whole_batch():
    own = unit(0)
    assert gather_batch(own) is own


def test_rows_keep_the_order_of_ranks_and_the_own_ones_their_gradient(monkeypatch):
    first, second = unit(0), unit(1)
    own = second.clone().requires_grad_()
    as_rank(monkeypatch, 1, [first])
    together = gather_batch(own)
    assert torch.equal(together, torch.cat([first, second]))
    together.sum().backward()
    assert torch.equal(own.grad, torch.ones_like(own))


@pytest.mark.parametrize(
    ('loss', 'numbers'),
    [
        (contrastive_loss, [torch.tensor(20.0)]),
        (sigmoid_pair_loss, [torch.tensor(20.0), torch.tensor(-10.0)]),
    ],
)
def test_processes_together_have_the_gradient_of_the_whole_batch(loss, numbers, monkeypatch):
    regions, nouns, meaning = unit(0), unit(1), torch.arange(4)
    whole = regions.clone().requires_grad_()
    loss(whole, nouns, *numbers, meaning).backward()
    parts = []
    for rank, own in enumerate(regions.split(2)):
        own = own.clone().requires_grad_()
        as_rank(monkeypatch, rank, [regions.split(2)[1 - rank], nouns.split(2)[1 - rank]])
        gathered = gather_batch(own), gather_batch(nouns.split(2)[rank])
        loss(*gathered, *numbers, meaning).backward()
        parts.append(own.grad)
    torch.testing.assert_close(torch.cat(parts), whole.grad)
