"""The tiny SAM 3 of a golden folder, through the loader and segmentor that users take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.images import Images
from ovseg.segmentors import SAM3Segmentor
from ovseg.segmentors.sam3_answers import ConceptEncoding
from parity.golden import read, saved
from parity.report import Tolerance

PIXELS, FEATURES = Tolerance(atol=1e-6), Tolerance(atol=1e-4)
SCORES, MASKS, ENERGY = Tolerance(atol=1e-3), Tolerance(atol=2e-3), Tolerance(atol=1e-3)
MAPS = Tolerance(atol=2e-4)


def build(folder: Path, **settings: Any) -> SAM3Segmentor:
    """The segmentor of the folder's weights.

    Args:
        folder: the golden folder.
        settings: of the segmentor.
    """
    weights, words = read(folder / 'weights.pt'), read(folder / 'heads.pt')['word_ids']
    with saved(sam3=weights['state_dict']) as files:
        return SAM3Segmentor(
            sam3={'model': weights['config'], 'pretrained': files['sam3'], 'words': words},
            text={'cache_dir': None},
            **settings,
        ).eval()


def image_of(folder: Path) -> Tensor:
    """The image of the folder (1, 3, H, W) uint8."""
    image = read(folder / 'heads.pt')['inputs']['image_rgb_uint8']
    return image.permute(2, 0, 1)[None].contiguous()


def encoded(model: SAM3Segmentor, image: Tensor) -> ConceptEncoding:
    """The image after the model's own preprocessing.

    Args:
        model: encodes it.
        image: (1, 3, H, W) uint8.
    """
    own = model.data_preprocessor
    return model.encode(Images((image.float() - own.mean) / own.std))[0]


def vocabulary_of(lines: list[str]) -> list[list[str]]:
    """Classes as lists of their words, of lines as the references write them."""
    return [[word.strip() for word in line.split(',')] for line in lines]


def classes_of(words: list[str], index: Tensor) -> list[list[str]]:
    """Classes as lists of their words, by each word's class."""
    found: list[list[str]] = [[] for _ in range(int(torch.as_tensor(index).max()) + 1)]
    for word, label in zip(words, index.tolist(), strict=True):
        found[label].append(word)
    return found
