from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions import retrieval
from ovseg.regions.faiss_keys import write_faiss
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
    assert torch.equal(bank.keys.values, KEYS) and torch.equal(bank.embeddings, STORED)
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


# Indexes -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def index(tmp_path_factory):
    """An index as the release writes it, its keys, and what is stored beside them."""
    pytest.importorskip('faiss')
    generator = torch.Generator().manual_seed(2)
    centres = torch.randn(40, 32, generator=generator)
    keys = centres.repeat_interleave(10, 0) + 0.1 * torch.randn(400, 32, generator=generator)
    path = tmp_path_factory.mktemp('bank') / 'coco_radiov3.faiss'
    write_faiss(keys, path)
    return path, keys, torch.randn(400, 4, generator=generator)


def test_an_index_of_faiss_finds_what_a_full_search_finds(index):
    path, keys, stored = index
    bank = RetrievalBank(path, stored, num_support=10)
    assert (len(bank.keys), bank.keys.rows, bank.keys.channels) == (400, 400, 32)
    found = bank.nearest(keys[::10])
    assert found.dtype == torch.int64 and found.shape == (40, 10)
    # Neighbours of one centre; which of them comes first is rounded away.
    near = (found.div(10, rounding_mode='floor') == torch.arange(40)[:, None]).float().mean()
    exact = RetrievalBank(keys, stored, num_support=10).nearest(keys[::10])
    assert near > 0.95 and (exact.div(10, rounding_mode='floor') == torch.arange(40)[:, None]).all()


def test_rows_of_an_index_go_by_its_own_numbers_and_those_not_found_are_left_out(tmp_path):
    faiss = pytest.importorskip('faiss')
    flat = faiss.IndexIDMap2(faiss.IndexFlatIP(6))
    flat.add_with_ids(KEYS[:3].numpy(), np.array([7, 2, 4]))
    faiss.write_index(flat, str(tmp_path / 'three.faiss'))
    bank = RetrievalBank(tmp_path / 'three.faiss', STORED[:8], num_support=3)
    assert bank.nearest(KEYS[1:2])[0, 0] == 2
    bank.num_support = 5
    rows = bank.nearest(KEYS[:1])
    assert rows[0, 3:].tolist() == [-1, -1] and set(rows[0, :3].tolist()) == {7, 2, 4}
    found = support_embeddings(STORED, torch.cat([rows, torch.full_like(rows, -1)]))
    assert torch.allclose(found[0], F.normalize(STORED[[7, 2, 4]].mean(0), dim=0), atol=1e-6)
    assert torch.equal(found[1], torch.zeros(4))


def test_indexes_that_do_not_fit_are_one_sentence(index, tmp_path):
    faiss = pytest.importorskip('faiss')
    path, keys, stored = index
    with pytest.raises(UserError, match=r'bank.embeddings has 30 regions, bank.keys 400'):
        RetrievalBank(path, STORED)
    (tmp_path / 'short.faiss').write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match=r'short.faiss cannot be read as an index of FAISS'):
        RetrievalBank(tmp_path / 'short.faiss', stored)
    for place, message in (
        (faiss.IndexFlat(6, faiss.METRIC_L1), 'goes by another measure'),
        (faiss.IndexFlatIP(6), 'is an index without keys'),
    ):
        faiss.write_index(place, str(tmp_path / 'other.faiss'))
        with pytest.raises(UserError, match=message):
            RetrievalBank(tmp_path / 'other.faiss', stored)
    with pytest.raises(UserError, match='at least 256 keys of a multiple of 32 channels, got 30'):
        write_faiss(KEYS, tmp_path / 'few.faiss')
    assert not (tmp_path / 'few.faiss').exists()


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / 'coco.faiss').write_bytes(b'IxM2' + bytes(40))
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(UserError, match=r'need faiss, which is missing: pip install "ovseg\[faiss'):
        RetrievalBank(tmp_path / 'coco.faiss', STORED)
