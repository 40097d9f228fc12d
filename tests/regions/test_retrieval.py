from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions import retrieval
from ovseg.regions.retrieval import RetrievalBank, support_embeddings

KEYS = F.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), dim=1)
STORED = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))


def test_the_nearest_are_those_of_a_full_search_however_many_at_once(monkeypatch):
    bank = RetrievalBank(KEYS.half(), STORED, num_support=4)
    queries = torch.randn(5, 6)
    products = F.normalize(queries, dim=1) @ KEYS.half().float().T
    wanted = products.topk(4, dim=1).indices
    assert torch.equal(bank.nearest(queries), wanted)
    monkeypatch.setattr(retrieval, '_VALUES_AT_ONCE', 5 * 7)
    assert torch.equal(bank.nearest(queries), wanted)


def test_support_is_the_unit_mean_of_what_is_stored():
    rows = torch.tensor([[0, 3], [5, 5]])
    found = support_embeddings(STORED.half(), rows)
    mean = (STORED[0].half().float() + STORED[3].half().float()) / 2
    assert torch.allclose(found[0], mean / mean.norm(), atol=1e-6)
    assert torch.allclose(found[1], F.normalize(STORED[5].half().float(), dim=0), atol=1e-6)


def test_files_serve_like_tensors(tmp_path):
    for name, value in (('keys', KEYS), ('embeddings', STORED)):
        torch.save(value, tmp_path / f'{name}.pt')
    bank = RetrievalBank(tmp_path / 'keys.pt', str(tmp_path / 'embeddings.pt'))
    assert torch.equal(bank.keys, KEYS) and torch.equal(bank.embeddings, STORED)
    assert str(bank) == 'RetrievalBank(30 regions, num_support=20)'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'embeddings': STORED[:9]}, 'bank.embeddings has 9 regions, bank.keys 30'),
        ({'auxiliary': STORED[:9]}, 'bank.auxiliary has 9 regions'),
        ({'num_support': 31}, r'bank.num_support must lie in 1\.\.30'),
        ({'keys': KEYS[0]}, r'bank.keys must be an \(N, C\) tensor'),
    ],
)
def test_a_bank_that_does_not_fit_is_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        RetrievalBank(**{'keys': KEYS, 'embeddings': STORED, **arguments})


def test_queries_of_another_companion_are_named():
    with pytest.raises(UserError, match='bank.keys have 6 channels, the companion gives 5'):
        RetrievalBank(KEYS, STORED).nearest(torch.randn(2, 5))
