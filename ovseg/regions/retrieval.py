"""A bank of regions seen elsewhere: what CLIP says of those that look alike."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.weight_files import check_finite, read_tensors

# Inner products that exist at once while a bank is searched.
_VALUES_AT_ONCE = 1 << 24


class RetrievalBank:
    """Regions of other images by their companion features, with CLIP's embeddings of them.

    Args:
        keys: (N, C) companion features of the regions, or a file with that tensor.
        embeddings: (N, D) CLIP embeddings of the same regions, likewise.
        auxiliary: (N, D2) embeddings by another CLIP, likewise, or None.
        num_support: how many regions are looked up for one.

    Raises:
        UserError: tensors that do not fit each other, or fewer regions than are looked up.
        FileNotFoundError: there is no such file.

    Source: CorrCLIPv2, README of zdk258/CorrCLIP. The release searches a compressed index of FAISS;
    here the inner products are exact.
    """

    def __init__(
        self,
        keys: Tensor | str | Path,
        embeddings: Tensor | str | Path,
        auxiliary: Tensor | str | Path | None = None,
        num_support: int = 20,
    ) -> None:
        self.keys = _matrix(keys, 'keys')
        self.embeddings = _matrix(embeddings, 'embeddings')
        self.auxiliary = None if auxiliary is None else _matrix(auxiliary, 'auxiliary')
        for name in ('embeddings', 'auxiliary'):
            other = getattr(self, name)
            if other is not None and len(other) != len(self.keys):
                raise UserError(
                    f'bank.{name} has {len(other)} regions, bank.keys {len(self.keys)}; give files '
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
            (R, num_support) int64 rows of the bank, best first.

        Raises:
            UserError: the bank's features have another number of channels.
        """
        if queries.shape[1] != self.keys.shape[1]:
            raise UserError(
                f'bank.keys have {self.keys.shape[1]} channels, the companion gives '
                f'{queries.shape[1]}; give the bank of this companion'
            )
        queries = F.normalize(queries.float(), dim=1).to(self.keys.device)
        best = queries.new_empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
        at_once = max(self.num_support, _VALUES_AT_ONCE // max(1, len(queries)))
        for start in range(0, len(self.keys), at_once):
            products = queries @ self.keys[start : start + at_once].float().T
            numbers = torch.arange(start, start + products.shape[1], device=queries.device)
            best = torch.cat([best, products], 1)
            rows = torch.cat([rows, numbers.expand(len(queries), -1)], 1)
            best, chosen = best.topk(min(self.num_support, best.shape[1]), dim=1)
            rows = rows.gather(1, chosen)
        return rows


def support_embeddings(stored: Tensor, rows: Tensor) -> Tensor:
    """Returns the unit mean of stored embeddings.

    Args:
        stored: (N, D).
        rows: (R, k) int64.

    Returns:
        (R, D).
    """
    return F.normalize(stored[rows.to(stored.device)].float().mean(1), dim=1)


def _matrix(source: Tensor | str | Path, name: str) -> Tensor:
    content = source if isinstance(source, Tensor) else read_tensors(source)
    if not isinstance(content, Tensor) or content.ndim != 2 or not len(content):
        raise UserError(
            f'bank.{name} must be an (N, C) tensor, or a .pt or .npy file with one, got '
            f'{source if isinstance(source, (str, Path)) else tuple(source.shape)}'
        )
    check_finite({name: content}, 'bank' if isinstance(source, Tensor) else source)
    return content
