"""A tiny random open_clip model, and a fake one that counts what it encodes."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn

VISION = {'image_size': 16, 'layers': 1, 'width': 16, 'head_width': 8, 'patch_size': 8}
TEXT = {'context_length': 77, 'vocab_size': 49408, 'width': 16, 'heads': 2, 'layers': 1}


def _make_clip(kind=open_clip.CLIP, seed=0, quick_gelu=False, **text):
    torch.manual_seed(seed)
    return kind(8, dict(VISION), {**TEXT, **text}, quick_gelu=quick_gelu).eval()


class CountingClip(nn.Module):
    """Embeds tokens by a random table and remembers how many sentences it was given."""

    context_length = 16

    def __init__(self, dim=6, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(257, dim)
        self.visual = nn.Linear(2, 2)
        self.logit_scale = nn.Parameter(torch.tensor(3.0))
        self.encoded = 0

    def encode_text(self, tokens, normalize=False):
        assert not normalize
        self.encoded += len(tokens)
        return (self.table(tokens) * torch.arange(1, tokens.shape[1] + 1)[:, None]).sum(1)


class ByteTokenizer:
    """One token a byte, cut to the context length."""

    def __call__(self, texts, context_length=16):
        tokens = torch.zeros(len(texts), context_length, dtype=torch.long)
        for row, text in enumerate(texts):
            values = list(text.encode())[:context_length]
            tokens[row, : len(values)] = torch.tensor(values) + 1
        return tokens


@pytest.fixture
def make_clip():
    return _make_clip


@pytest.fixture
def make_counting_clip():
    return CountingClip


@pytest.fixture
def clip():
    return _make_clip()


@pytest.fixture
def counting_clip():
    return CountingClip()


@pytest.fixture
def byte_tokenizer():
    return ByteTokenizer()
