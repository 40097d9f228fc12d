"""Sums of exemplars that add up: two banks together are the bank of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stats:
    """Sums in float64 of which every rule that knows Gaussians is made.

    Attributes:
        number: (C,) images of each class.
        total: (C, D) sum of the classes' pooled vectors, one an image.
        scatter: (D, D) scatter of patches about the mean of their class in their image.
        freedom: patches less one in each group of an image and a class, summed up.
        groups: groups of two patches or more.
    """

    number: Tensor
    total: Tensor
    scatter: Tensor
    freedom: int = 0
    groups: int = 0

    @classmethod
    def empty(cls, classes: int, dim: int) -> Stats:
        """Of no exemplars.

        Args:
            classes: C.
            dim: D.
        """
        return cls(
            torch.zeros(classes, dtype=torch.float64),
            torch.zeros(classes, dim, dtype=torch.float64),
            torch.zeros(dim, dim, dtype=torch.float64),
        )

    @classmethod
    def of(
        cls, vectors: Tensor, classes: Tensor, samples: Tensor, sample_of: Tensor, count: int
    ) -> Stats:
        """Of exemplars, one row an image and class.

        Args:
            vectors: (P, D) pooled.
            classes: (P,) int64.
            samples: (M, D) patches.
            sample_of: (M,) int64, which of the P rows each belongs to.
            count: C.
        """
        vectors, samples = vectors.double(), samples.double()
        stats = cls.empty(count, vectors.shape[1])
        stats.number.index_add_(0, classes, torch.ones_like(classes, dtype=torch.float64))
        stats.total.index_add_(0, classes, vectors)
        sizes = torch.bincount(sample_of, minlength=len(vectors)).double()
        means = torch.zeros_like(vectors).index_add_(0, sample_of, samples)
        residuals = samples - (means / sizes.clamp_min(1)[:, None])[sample_of]
        return cls(
            stats.number,
            stats.total,
            residuals.T @ residuals,
            int((sizes - 1).clamp_min(0).sum()),
            int((sizes > 1).sum()),
        )

    def __add__(self, other: Stats) -> Stats:
        """Of both; their classes are the same."""
        return self._combined(other, 1)

    def __sub__(self, other: Stats) -> Stats:
        """Without exemplars that were part of these."""
        return self._combined(other, -1)

    def at(self, places: Tensor, count: int) -> Stats:
        """The same with classes renumbered.

        Args:
            places: (C,) int64, the new number of each class; those of one number are one class.
            count: how many numbers there are.
        """
        number = torch.zeros(count, dtype=torch.float64).index_add_(0, places, self.number)
        total = torch.zeros(count, self.total.shape[1], dtype=torch.float64)
        total.index_add_(0, places, self.total)
        return Stats(number, total, self.scatter, self.freedom, self.groups)

    def covariance(self) -> Tensor:
        """Of patches about the mean of their class in their image, shrunk, (D, D) float64.

        Patches of one image are not independent: what stands against the shrinkage is the number
        of groups of an image and a class. The unit matrix where no group has two patches.

        Source: shrinkage of arXiv 2402.04087 (GDA), eq. 6, its N counting groups.
        """
        dim = len(self.scatter)
        if not self.freedom or not self.scatter.diagonal().sum() > 0:
            return torch.eye(dim, dtype=torch.float64)
        return shrunk(self.scatter / self.freedom, self.groups + 1)

    def _combined(self, other: Stats, sign: int) -> Stats:
        return Stats(
            self.number + sign * other.number,
            self.total + sign * other.total,
            self.scatter + sign * other.scatter,
            self.freedom + sign * other.freedom,
            self.groups + sign * other.groups,
        )


def shrunk(covariance: Tensor, count: int) -> Tensor:
    """A covariance shrunk to a multiple of the unit matrix by the number of its samples.

    ``(N-1)/(N-1+D) S + D/(N-1+D) (tr S / D) I``; its inverse times ``D/(N-1+D)`` is the published
    ``D pinv((N-1) S + tr(S) I)``.

    Args:
        covariance: (D, D).
        count: N, how many independent samples it is of.
    """
    dim = len(covariance)
    own = (count - 1) / (count - 1 + dim)
    mean = covariance.diagonal().mean()
    return own * covariance + (1 - own) * mean * torch.eye(dim, dtype=covariance.dtype)
