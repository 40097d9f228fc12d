"""A mixing weight without a validation set: each image is left out once, and asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# More images say hardly more about one number, and each costs a fit a weight.
_MOST_IMAGES = 32


@dataclass(frozen=True)
class Chosen:
    """A weight, and how it was found.

    Attributes:
        weight: the first of those that are right most often.
        images: that were left out; 0 where none could be, and the weight is the default.
        percent: of the patches left out that are right.
    """

    weight: float
    images: int
    percent: float

    def said(self, name: str) -> str:
        """In a sentence.

        Args:
            name: of the weight.
        """
        if not self.images:
            return (
                f'{name} = {self.weight:g}, the default: leave-one-out needs a class with examples '
                'from two images'
            )
        return (
            f'{name} = {self.weight:g}, from leave-one-out over {self.images} images '
            f'({self.percent:.1f} % of their patches are right)'
        )


def leave_one_out(
    support: Support,
    make: Callable[[Support, float], Classifier],
    weights: Sequence[float],
    default: float,
) -> Chosen:
    """The weight under which images that are left out are labelled best.

    Only patches of classes that still have exemplars count. The sums of the rest are those of all
    less those of the image.

    Args:
        support: exemplars beside the words.
        make: the classifier of exemplars and a weight.
        weights: to try, in order.
        default: where no image can be left out.
    """
    images = support.image.unique()
    step = -(-len(images) // _MOST_IMAGES)
    right = torch.zeros(len(weights))
    asked = left_out = 0
    for image in images[::step]:
        out = support.image == image
        rest = support.without(out)
        is_asked = out[support.sample_row] & rest.has[support.sample_entry]
        if not is_asked.any():
            continue
        features = support.samples[is_asked].float().T[None, :, :, None]
        labels = support.class_index[support.sample_entry[is_asked]]
        for number, weight in enumerate(weights):
            found = make(rest, weight).scores(features)[0, :, :, 0].argmax(0)
            right[number] += (found == labels).sum()
        asked, left_out = asked + int(is_asked.sum()), left_out + 1
    if not left_out:
        return Chosen(default, 0, 0.0)
    best = int(right.argmax())
    return Chosen(weights[best], left_out, 100 * float(right[best]) / asked)
