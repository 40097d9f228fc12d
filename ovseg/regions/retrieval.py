"""A bank of regions seen elsewhere: what CLIP says of those that look alike."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions.faiss_keys import FaissKeys, is_faiss
from ovseg.weight_files import check_finite, find_weights, read_tensors

# Inner products that exist at once while a bank is searched, and values that are checked at once.
_VALUES_AT_ONCE = 1 << 24


class BankKeys(Protocol):
    """What a bank is searched by.

    Attributes:
        channels: of a key.
        rows: of the bank that the keys speak of.
    """

    channels: int
    rows: int

    def __len__(self) -> int:
        """How many keys there are."""
        ...

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Rows of the bank whose keys have the largest inner products.

        Args:
            queries: (R, C) unit vectors.
            count: how many rows for each.

        Returns:
            (R, count) int64, best first; -1 where fewer were found.
        """
        ...


class ExactKeys:
    """Keys that are all compared.

    Args:
        keys: (N, C).
    """

    def __init__(self, keys: Tensor) -> None:
        self.values = keys
        self.rows, self.channels = keys.shape

    def __len__(self) -> int:
        return self.rows

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """See :class:`BankKeys`."""
        queries = queries.to(self.values.device)
        best = queries.new_empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
        at_once = max(count, _VALUES_AT_ONCE // max(1, len(queries)))
        for start in range(0, self.rows, at_once):
            products = queries @ self.values[start : start + at_once].float().T
            numbers = torch.arange(start, start + products.shape[1], device=queries.device)
            best = torch.cat([best, products], 1)
            rows = torch.cat([rows, numbers.expand(len(queries), -1)], 1)
            best, chosen = best.topk(min(count, best.shape[1]), dim=1)
            rows = rows.gather(1, chosen)
        return rows


class RetrievalBank:
    """Regions of other images by their companion features, with CLIP's embeddings of them.

    Args:
        keys: (N, C) companion features of the regions, a file with that tensor, or an index of
            FAISS (``.faiss``), as CorrCLIPv2 publishes them.
        embeddings: (N, D) CLIP embeddings of the same regions, likewise.
        auxiliary: (N, D2) embeddings by another CLIP, likewise, or None.
        num_support: how many regions are looked up for one.

    Raises:
        UserError: tensors that do not fit each other, or fewer regions than are looked up.
        FileNotFoundError: there is no such file.

    Source: CorrCLIPv2, README of zdk258/CorrCLIP. The release searches a compressed index of FAISS;
    with a tensor of keys the inner products are exact.
    """

    def __init__(
        self,
        keys: Tensor | str | Path,
        embeddings: Tensor | str | Path,
        auxiliary: Tensor | str | Path | None = None,
        num_support: int = 20,
    ) -> None:
        self.keys = _keys(keys)
        self.embeddings = _matrix(embeddings, 'embeddings')
        self.auxiliary = None if auxiliary is None else _matrix(auxiliary, 'auxiliary')
        for name in ('embeddings', 'auxiliary'):
            other = getattr(self, name)
            if other is not None and len(other) != self.keys.rows:
                raise UserError(
                    f'bank.{name} has {len(other)} regions, bank.keys {self.keys.rows}; give files '
                    'of one bank'
                )
        if not 1 <= num_support <= len(self.keys):
            raise UserError(
                f'bank.num_support must lie in 1..{len(self.keys)}, the regions of the bank, got '
                f'{num_support}'
            )
        self.num_support = num_support

    def __repr__(self) -> str:
        other = '' if self.auxiliary is None else ', with auxiliary'
        return f'RetrievalBank({len(self.keys)} regions, num_support={self.num_support}{other})'

    def nearest(self, queries: Tensor) -> Tensor:
        """Returns the regions with the largest inner products.

        Args:
            queries: (R, C) companion features.

        Returns:
            (R, num_support) int64 rows of the bank, best first; -1 where an index found fewer.

        Raises:
            UserError: the bank's features have another number of channels.
        """
        if queries.shape[1] != self.keys.channels:
            raise UserError(
                f'bank.keys have {self.keys.channels} channels, the companion gives '
                f'{queries.shape[1]}; give the bank of this companion'
            )
        return self.keys.nearest(F.normalize(queries.float(), dim=1), self.num_support)


def support_embeddings(stored: Tensor, rows: Tensor) -> Tensor:
    """Returns the unit mean of stored embeddings.

    Args:
        stored: (N, D).
        rows: (R, k) int64; -1 stands for none.

    Returns:
        (R, D); zeros where there is none at all.
    """
    rows = rows.to(stored.device)
    found = stored[rows.clamp_min(0)].float() * (rows >= 0)[..., None]
    return F.normalize(found.sum(1), dim=1)


def _keys(source: Tensor | str | Path) -> BankKeys:
    if isinstance(source, (str, Path)) and is_faiss(find_weights(source)):
        return FaissKeys(source)
    return ExactKeys(_matrix(source, 'keys'))


def _matrix(source: Tensor | str | Path, name: str) -> Tensor:
    content = source if isinstance(source, Tensor) else read_tensors(source)
    if not isinstance(content, Tensor) or content.ndim != 2 or not len(content):
        raise UserError(
            f'bank.{name} must be an (N, C) tensor, or a .pt or .npy file with one, got '
            f'{source if isinstance(source, (str, Path)) else tuple(source.shape)}'
        )
    for part in content.split(max(1, _VALUES_AT_ONCE // content.shape[1])):
        check_finite({name: part}, 'bank' if isinstance(source, Tensor) else source)
    return content
