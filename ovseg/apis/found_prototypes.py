"""Rows of a classifier from a folder of images without labels: what images of a word share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.images.finding import find_images
from ovseg.regions.cosegmentation import Reference, context_weights, cosegment, patch_weights
from ovseg.scores.encoding import ImageEncoding
from ovseg.text.row_files import ReadyRows, write_row_file
from ovseg.vocabulary import build_vocabulary

# An image fits a word as well as this share of its patches, the best ones.
_BEST_PATCHES = 0.05


@dataclass(frozen=True, eq=False)
class FoundPrototypes:
    """What images of each word share.

    Attributes:
        names: of the K classes.
        rows: (K, D) unit vectors, float32 on the CPU.
        images: which images each row is made of, the best first.
        fits: how well the image fits the word that fits worst among those of a row (K,), a cosine.
        space: fingerprint of the text model whose space the rows are in; ``''`` if not known.
    """

    names: tuple[str, ...]
    rows: Tensor
    images: tuple[tuple[str, ...], ...]
    fits: Tensor
    space: str = ''

    def save(self, path: str | Path) -> None:
        """Writes the rows as a file for ``model.text.embeddings`` of a config.

        Args:
            path: such as ``rows_clip_text.pth``; see
                :func:`~ovseg.text.row_files.write_row_file`.
        """
        write_row_file(ReadyRows(self.rows, self.names, self.space), path)


def prototypes_from_images(
    segment: OpenVocabSegmenter,
    words: Any,
    images: str | Path | Iterable[Any],
    context: Any = None,
    per_class: int = 50,
    reference: Reference = 'avg',
    published: bool = False,
) -> FoundPrototypes:
    """One row a class, from images that nobody labelled.

    For each class the images that fit its words best are compared with each other: in each, the
    patch that all others have, too, is a seed, and the row is the mean of the seeds.

    Args:
        segment: a training-free model, whose features these are.
        words: anything that `segment` takes as words.
        images: a folder, a pattern, or images as `segment` takes them. Features of all are kept in
            memory, about a megabyte an image.
        context: words of what is everywhere (ReCo: tree, sky, building, road, person), whose
            patches are no seeds of other words; None for none.
        per_class: how many images are compared (ReCo: 50).
        reference: how seeds become a row, see :func:`~ovseg.regions.cosegmentation.reference_of`.
        published: see :func:`~ovseg.regions.cosegmentation.seed_patches`.

    Raises:
        UserError: fewer than two images, or a model without features of patches.

    Source: ReCo (arXiv 2206.07045). There another network finds the seeds and a global embedding
    the images; here both are by patches of the one encoder, so that rows lie in its text space.
    """
    paths: Sequence[Any] = (
        find_images(str(images)) if isinstance(images, (str, Path)) else tuple(images)
    )
    if len(paths) < 2 or per_class < 2:
        raise UserError(
            f'{min(len(paths), per_class)} image has nothing in common with others; give two or '
            'more images, and per_class from 2'
        )
    kept = [_patches(segment.encode(path).encoding) for path in paths]
    names = [str(path) for path in paths]
    everywhere = None
    if context is not None:
        everywhere = _rows(segment, context, kept, None, per_class, reference, published)[0]
    own = build_vocabulary(words)
    assert own is not None  # words that are none are refused there
    rows, chosen, fits = _rows(segment, own, kept, everywhere, per_class, reference, published)
    used = tuple(tuple(names[number] for number in numbers) for numbers in chosen)
    # An image's features say in whose space they are, which may be a model's without a text tower.
    space = getattr(getattr(segment.model, 'text', None), 'space', '')
    return FoundPrototypes(tuple(own.names), rows, used, torch.tensor(fits), space)


def _patches(encoding: Any) -> Tensor:
    """(N, D) unit vectors of an image, in half precision on the CPU."""
    if not isinstance(encoding, ImageEncoding):
        raise UserError(
            'prototypes are of patches, and this model proposes masks; choose a training-free one'
        )
    patches = encoding.features.patch.float().flatten(2).transpose(1, 2).flatten(0, 1)
    return F.normalize(patches, dim=1).half().cpu()


def _rows(
    segment: OpenVocabSegmenter,
    words: Any,
    kept: list[Tensor],
    everywhere: Tensor | None,
    per_class: int,
    reference: Reference,
    published: bool,
) -> tuple[Tensor, list[list[int]], list[float]]:
    vocabulary = build_vocabulary(words)
    text = segment.model.build_classifier(vocabulary).folded().to('cpu')
    rows, chosen, fits = [], [], []
    for label in range(text.num_classes):
        word = text.weight[text.class_index == label].mean(0)
        scores = [patches.float() @ word for patches in kept]
        best = [one.topk(max(1, round(_BEST_PATCHES * len(one)))).values.mean() for one in scores]
        order = torch.stack(best).argsort(descending=True)[:per_class].tolist()
        features = [kept[number].float() for number in order]
        weights = [_weights(scores[n], kept[n].float(), everywhere) for n in order]
        rows.append(cosegment(features, weights, reference, published)[0])
        chosen.append(order)
        fits.append(float(best[order[-1]]))
    return torch.stack(rows), chosen, fits


def _weights(scores: Tensor, patches: Tensor, everywhere: Tensor | None) -> Tensor:
    """How much each patch of an image counts (N,)."""
    seen = None
    if everywhere is not None:
        seen = context_weights(patches.T[None, :, :, None], everywhere)
    return patch_weights(scores[None, :, None], seen).flatten()
