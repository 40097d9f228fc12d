"""Teaching a segmenter: examples of a class, from masks, boxes, clicks or scribbles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ovseg.apis.encoded_image import EncodedImage
from ovseg.errors import UserError, notify
from ovseg.exemplars.bank import Bank
from ovseg.exemplars.marks import (
    Mask,
    box_mask,
    check_mask,
    click_mask,
    is_box,
    is_points,
    read_mask,
    scribble_mask,
)
from ovseg.exemplars.same_images import digest_of, name_in_memory
from ovseg.exemplars.taught import Taught
from ovseg.refiners.box_masks import mask_in_box
from ovseg.segmentors.exemplar_features import labels_of_mask, patch_radius, pool_encoding
from ovseg.vocabulary.parsing import check_words, plain_separators

if TYPE_CHECKING:
    from ovseg.apis.encoded_image import EncodedImage
    from ovseg.apis.taught_model import TaughtModel


def taught_of(segmenter: TaughtModel) -> Taught:
    """What a segmenter was taught.

    Args:
        segmenter: of any model.

    Raises:
        UserError: its model takes no examples.
    """
    taught = segmenter.model.taught
    if taught is None:
        raise UserError(
            f'The model {segmenter.name} takes no examples: it was trained for its classes, or '
            'names masks as a whole. Take a training-free one that compares words with patches, '
            'such as maskclip-vit-b16.'
        )
    return taught


def teach(
    segmenter: TaughtModel,
    name: str,
    image: EncodedImage,
    mark: Any,
    scribble: Any,
    has_words: bool,
) -> Bank:
    """The bank with one more example.

    Args:
        segmenter: whose bank it is.
        name: of the class.
        image: encoded by it.
        mark: a mask, its file, a box or clicks; None for a scribble.
        scribble: corners of a line; None for a mark.
        has_words: whether the name means something to the text model.

    Raises:
        UserError: a mark that does not fit, a name of no letters; the bank stays as it is.
    """
    taught = taught_of(segmenter)
    name = _name_of_class(name)
    if not isinstance(image, EncodedImage):
        raise UserError('An example is of one image, not of a list of them: teach each by itself.')
    if isinstance(mark, torch.Tensor):
        mark = mark.detach().cpu()
        mark = mark.float().numpy() if mark.is_floating_point() else mark.numpy()
    if (mark is None) == (scribble is None):
        raise UserError('Give one mark of the thing: a mask, a box, clicks, or scribble=.')
    size = (image.image.shape[0], image.image.shape[1])
    radius = patch_radius(image.encoding, size)
    if scribble is not None:
        mask = scribble_mask(scribble, size, radius)
    elif isinstance(mark, (str, os.PathLike)):
        mask = read_mask(mark, size)
    elif is_box(mark):
        mask = _boxed(segmenter, image, mark)
    elif is_points(mark) and size[1] != 2:
        mask = click_mask(mark, size, radius)
    else:
        mask = check_mask(mark, size)
    pooled = pool_encoding(image.encoding, labels_of_mask(torch.from_numpy(mask)))
    bank = taught.or_empty(pooled.vectors.shape[1])
    digest = digest_of(image.image)
    source = image.source or name_in_memory(digest)
    taught.bank = bank.with_image(pooled, [name], source, has_words, digest)
    segmenter.model.words.forget()
    found = taught.bank
    assert found is not None  # it has the example
    return found


def _name_of_class(name: Any) -> str:
    """A name that words can ask for."""
    if not isinstance(name, str) or not name.strip():
        raise UserError('An example needs the name of its class, such as "red mug".')
    check_words(name, 'the name of an example', name=True)
    name = name.strip()
    if not name.isprintable():
        raise UserError(f'The name of an example must be one line of letters, got {name!r}.')
    signs = [sign for sign in ';,' if sign in plain_separators(name)]
    if signs:
        notify(
            f'{name!r} is the name of one class, and in words that are written as text '
            f'"{signs[0]}" parts it: a list or a JSON file asks for it, or teach a name without.'
        )
    return name


def _boxed(segmenter: TaughtModel, image: EncodedImage, box: Any) -> Mask:
    """What the model's SAM finds in a box; all of it where there is no SAM, or it finds nothing."""
    size = (image.image.shape[0], image.image.shape[1])
    whole = box_mask(box, size)
    sam = getattr(segmenter.model, 'prompted', None)
    if sam is None:
        notify(
            f'{segmenter.name} has no SAM, so that all that is in the box counts as the thing: '
            'draw the box tightly, or give a mask'
        )
        return whole
    rows, columns = whole.nonzero()
    corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x1, y1, x2, y2 = (int(corner) for corner in corners)
    pixels = np.ascontiguousarray(image.image)
    model = segmenter.model
    mask = mask_in_box(sam, pixels, (x1, y1, x2, y2), model.device, model.budget)
    if not mask.any():
        notify('SAM finds nothing in the box, so that all that is in it counts as the thing')
        return whole
    return mask


def learn_folder(
    segmenter: TaughtModel,
    examples: Iterable[tuple[str, Path, Path]],
    has_words: bool = True,
) -> int:
    """Teach what a folder shows; all of it or nothing.

    Args:
        segmenter: is taught.
        examples: class, image and mask of each; see
            :func:`~ovseg.exemplars.example_folder.find_examples`.
        has_words: whether the names of the classes mean something to the text model.

    Returns:
        How many examples it were.

    Raises:
        UserError: an image or a mask that cannot be read or does not fit.
    """
    taught = taught_of(segmenter)
    before, count = taught.bank, 0
    try:
        for name, image, mask in examples:
            try:
                segmenter.teach(name, image, mask, has_words=has_words)
            except UserError as error:
                raise UserError(f'{image}: {error}') from error
            count += 1
    except BaseException:
        taught.bank = before
        raise
    return count
