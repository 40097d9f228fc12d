"""A layer that is trained on one image, at test time, to move its patches towards sentences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.scores.anomaly import state_probabilities

_NOISE = 0.055


class PromptAdapter(nn.Module):
    """``x / 2 + T' tanh(A x / |x|) / 2``: half of a patch becomes a mixture of sentences.

    Args:
        sentences: T, (P, D) unit vectors; they stay as they are.

    Attributes:
        linear: A, from D to P, trained anew for each image.

    Source: AnoVL (arXiv 2308.15939), section 3.3; model.py of the released code, ``TextAdapter``.
    """

    sentences: Tensor

    def __init__(self, sentences: Tensor) -> None:
        super().__init__()
        self.register_buffer('sentences', sentences, persistent=False)
        self.linear = nn.Linear(sentences.shape[1], len(sentences))

    def forward(self, features: Tensor) -> Tensor:
        """Patches (..., D), moved; not normalised."""
        weights = torch.tanh(self.linear(F.normalize(features, dim=-1)))
        return torch.lerp(features, weights @ self.sentences, 0.5)

    def fit(
        self, features: Tensor, rows: Tensor, noises: Sequence[Tensor], rate: float = 1e-3
    ) -> list[float]:
        """Trains the layer on an image: sure of itself, normal as it is and damaged by noise.

        Args:
            features: (..., D), patches of the image.
            rows: (2, D), unit vectors of the states, normal first.
            noises: what is added to the patches, one a step.
            rate: of AdamW.

        Returns:
            The loss before each step.

        Source: AnoVL, ``loss_func`` of vl_test.py.
        """
        optimizer = torch.optim.AdamW(self.parameters(), rate)
        losses = []
        for noise in noises:
            clean = state_probabilities(self(features), rows)
            noisy = state_probabilities(self(features + noise), rows)
            entropy = -(clean * clean.log()).sum(-1).mean()
            labelled = -(clean[..., 0].log() + noisy[..., 1].log()).mean()
            loss = entropy + 0.5 * labelled
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses


def draw_noises(like: Tensor, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Noise for :meth:`PromptAdapter.fit`, standard deviation 0.055.

    Args:
        like: patches.
        steps: how many.
        generator: on the CPU, so that every device gets the same.
    """
    drawn = [_NOISE * torch.randn(like.shape, generator=generator) for _ in range(steps)]
    return [noise.to(like) for noise in drawn]
