"""Rows of words, and dense features of images, as files for programs without ovseg."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.scores.encoding import ImageEncoding, window_maps
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.text import Classifier
from ovseg.text.experts import refuse_experts


def export_rows(segmenter: OpenVocabSegmenter, words: Any, path: Path) -> str:
    """Write the rows of words as a NumPy archive, what an exported program takes as ``rows``.

    It has ``rows`` (P, D) float32 unit vectors, ``classes`` (P,) which class a row is of,
    ``names`` (K,), ``logit_scale``, by which cosines are multiplied before a softmax, and
    ``text_space``, which the metadata of programs of the same CLIP have, too.

    Args:
        segmenter: whose text tower is asked.
        words: as in :meth:`~ovseg.apis.segmenter.OpenVocabSegmenter.segment`.
        path: of the ``.npz`` file.

    Returns:
        What is in it, in a few words.

    Raises:
        UserError: words that rows alone cannot say: with a threshold or biases; or the model was
            trained for its classes.
    """
    if isinstance(segmenter.model, TrainedSegmentor):
        raise UserError(
            f'{segmenter.name} was trained for its own classes, and its program takes no rows: '
            'take a model of any words, such as maskclip-vit-b16.'
        )
    vocabulary, classifier = segmenter.question(words)
    refuse_experts(classifier, 'a program that reads rows')
    if type(classifier) is not Classifier:
        raise UserError(
            'Rows alone do not say how these examples count: take the rule proto, whose rows do.'
        )
    if vocabulary.rejection.rejects or bool(classifier.bias.any()):
        raise UserError(
            'Rows alone say no threshold and no bias: leave the rejection rule out, and name two '
            'classes or more.'
        )
    if classifier.aggregation == 'lse':
        raise UserError(
            "Rows alone say no sum of probabilities: set text.combine to another rule than 'lse'."
        )
    rows = classifier.weight.float().cpu().numpy()
    with written_whole(path) as temporary, temporary.open('wb') as file:
        np.savez(
            file,
            rows=rows,
            classes=classifier.class_index.cpu().numpy(),
            names=np.array(vocabulary.names),
            logit_scale=np.float32(classifier.logit_scale),
            text_space=np.array(classifier.fingerprint),
        )
    return f'{len(rows)} rows of {rows.shape[1]} numbers for {len(vocabulary)} classes'


def joint_features(encoding: ImageEncoding, patch: tuple[int, int]) -> Tensor:
    """The unit features of an image on one grid.

    Args:
        encoding: of its windows.
        patch: pixels of the input that a cell stands for, (height, width).

    Returns:
        (D, h, w) float32 unit vectors.
    """
    unit = nn.functional.normalize(encoding.features.patch.float(), dim=1)
    if len(unit) > 1:
        maps = window_maps(encoding, unit, encoding.input_size, 'via_input')
        height, width = maps.size
        columns = -(-width // patch[1])
        rows = [
            nn.functional.adaptive_avg_pool2d(
                maps.rows(top, min(top + patch[0], height)), (1, columns)
            )
            for top in range(0, height, patch[0])
        ]
        unit = nn.functional.normalize(torch.cat(rows, 1)[None], dim=1)
    return unit[0]


def export_features(segmenter: OpenVocabSegmenter, image: str | Path, path: Path) -> str:
    """Write the dense features of an image, (D, h, w) float16 unit vectors on a grid of patches.

    The grid is stretched over the image. Windows are joined: each of its cells has the mean of the
    unit vectors of all windows there.

    Args:
        segmenter: one without training for its classes.
        image: a file.
        path: a ``.safetensors`` file, whose metadata tell the image, its size and the model; or a
            ``.npy`` file with the numbers alone.

    Returns:
        What is in it, in a few words.

    Raises:
        UserError: another suffix, or a model without such features.
    """
    if path.suffix not in ('.safetensors', '.npy'):
        raise UserError(f'{path} must end in .safetensors or .npy.')
    model = segmenter.model
    if not isinstance(model, TrainingFreeSegmentor):
        raise UserError(f'{segmenter.name} has no features of patches in the space of words.')
    encoded = segmenter.encode(image)
    pixels, encoding = encoded.image, encoded.encoding
    features = joint_features(encoding, model.encoder.stride).half().cpu().contiguous()
    height, width = pixels.shape[:2]
    facts = {'image': str(image), 'height': height, 'width': width, 'model': segmenter.name}
    with written_whole(path) as temporary:
        if path.suffix == '.npy':
            with temporary.open('wb') as file:
                np.save(file, features.numpy())
        else:
            save_file({'features': features}, temporary, {'ovseg': json.dumps(facts)})
    channels, rows, columns = features.shape
    return f'{channels} channels on a grid of {rows} x {columns} over {height} x {width} pixels'
