"""A bank's keys in an index of FAISS, as CorrCLIPv2 publishes them."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.extras import extra_module
from ovseg.files import written_whole
from ovseg.weight_files import find_weights

# How files of FAISS begin: four letters for the kind of an index.
_MARK = re.compile(rb'I[A-Za-z][A-Za-z0-9]{2}')
# Lists that are searched, of those by which an index is divided.
_MOST_LISTS = 256
# Parts of a vector that are rounded apart, each to one of 2 ** bits; as published.
_PARTS, _BITS = 32, 8
# Fewer than these make poor lists, says FAISS.
_KEYS_A_LIST = 39


def faiss_module() -> ModuleType:
    """FAISS.

    Raises:
        UserError: it is missing; says how to install it.
    """
    return extra_module('faiss', 'faiss', 'Indexes of a bank (.faiss)')


def is_faiss(path: Path) -> bool:
    """Whether a file begins as those of FAISS do.

    Args:
        path: of a regular file.
    """
    with path.open('rb') as file:
        return _MARK.fullmatch(file.read(4)) is not None


class FaissKeys:
    """An index of compressed keys, searched by FAISS on the CPU.

    Args:
        source: see :func:`~ovseg.weight_files.find_weights`.

    Attributes:
        channels: of a key.
        rows: of the bank that the index speaks of.

    Raises:
        UserError: FAISS is missing, the file is damaged, or its index is empty or goes by another
            measure than inner products or distances.
        FileNotFoundError: there is no such file.

    Source: CorrCLIPv2, README of zdk258/CorrCLIP: inverted lists of product-quantised unit vectors,
    by distance, at most 256 lists searched.
    """

    def __init__(self, source: str | Path) -> None:
        faiss = faiss_module()
        path = find_weights(source)
        try:
            index = faiss.read_index(str(path))
            inner = faiss.downcast_index(index.index) if hasattr(index, 'id_map') else index
        except Exception as error:
            raise UserError(
                f'{path} cannot be read as an index of FAISS '
                f'({str(error).splitlines()[0][:160]}); get the file again'
            ) from error
        # Of unit vectors, the nearest ones are those of the largest inner products; the published
        # indexes go by distances.
        if index.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
            raise UserError(
                f'{path} goes by another measure than inner products or distances (metric '
                f'{index.metric_type} of FAISS); give an index of unit vectors'
            )
        if not index.ntotal:
            raise UserError(f'{path} is an index without keys; give one of a bank')
        if hasattr(inner, 'nprobe'):
            inner.nprobe = min(_MOST_LISTS, inner.nlist)
        self._index = index
        self._name = path.name
        self.channels = int(index.d)
        names = faiss.vector_to_array(index.id_map) if index is not inner else [index.ntotal - 1]
        self.rows = int(np.max(names)) + 1

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def __repr__(self) -> str:
        return self._name

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Rows whose keys have about the largest inner products.

        Args:
            queries: (R, C) unit vectors.
            count: how many rows for each.

        Returns:
            (R, count) int64, best first; -1 where the searched lists hold fewer.
        """
        values = np.ascontiguousarray(queries.float().cpu().numpy())
        return torch.from_numpy(self._index.search(values, count)[1]).to(queries.device)


def write_faiss(keys: Tensor, path: str | Path, lists: int | None = None) -> None:
    """Writes keys as an index, for banks that are too large for a full search.

    Args:
        keys: (N, C), N at least 256, C a multiple of 32.
        path: of the file, which appears whole or not at all.
        lists: by how many the index is divided; None for 8 times the root of N, as CorrCLIPv2 has
            it, but 39 keys for each at least.

    Raises:
        UserError: FAISS is missing, or the keys are too few or of a width that cannot be divided.
    """
    faiss = faiss_module()
    count, channels = keys.shape
    if count < 2**_BITS or channels % _PARTS:
        raise UserError(
            f'an index needs at least {2**_BITS} keys of a multiple of {_PARTS} channels, got '
            f'{count} keys of {channels}; use the keys as they are'
        )
    if lists is None:
        lists = max(1, min(int(8 * count**0.5), count // _KEYS_A_LIST))
    values = np.ascontiguousarray(F.normalize(keys.float(), dim=1).cpu().numpy())
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(channels), channels, lists, _PARTS, _BITS)
    index.train(values)
    named = faiss.IndexIDMap2(index)
    named.add_with_ids(values, np.arange(count, dtype=np.int64))
    with written_whole(path) as temporary:
        faiss.write_index(named, str(temporary))
