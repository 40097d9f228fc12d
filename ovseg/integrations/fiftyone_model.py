"""A model for FiftyOne's ``dataset.apply_model``: its classes are the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.integrations.pre_labels import PreLabels

with of_extra('fiftyone', 'Models of FiftyOne are classes of its own'):
    import fiftyone


class OvsegModel(fiftyone.Model):
    """Segments images of a FiftyOne data set.

    Args:
        classes: what to look for, such as ``dataset.default_classes``; a list of names. Set
            ``model.classes`` to ask for others.
        settings: of :class:`~ovseg.integrations.pre_labels.PreLabels`, such as ``model``.

    Raises:
        UserError: a setting that there is not.

    Example::

        model = OvsegModel(['cat', 'sofa'], background='wall, floor')
        dataset.apply_model(model, label_field='pre_labels')
        dataset.mask_targets['pre_labels'] = model.mask_targets
        dataset.save()
    """

    media_type = 'image'
    has_logits = False
    has_embeddings = False
    # Images may have any sizes, and are prepared by the segmenter itself.
    ragged_batches = False
    transforms = None
    preprocess = False
    # FiftyOne asks it for thresholds of its own, of which there are none.
    config = None

    def __init__(self, classes: Sequence[str], **settings: Any) -> None:
        if isinstance(classes, str):
            raise UserError(f'classes must be a list of names, got the string {classes!r}.')
        self.classes = list(classes)
        self.pre_labels = PreLabels.of(settings)

    @property
    def mask_targets(self) -> dict[int, str]:
        """The classes of the values in semantic masks, for the data set; 0 is background."""
        return dict(enumerate(self.classes, start=1))

    def predict(self, arg: np.ndarray) -> fiftyone.Segmentation | fiftyone.Detections:
        """What is in an image.

        Args:
            arg: (H, W, 3) uint8 RGB.

        Returns:
            With the task ``semantic`` a ``Segmentation`` whose mask (H, W) holds positions in
            ``classes`` + 1, and 0 for background; else ``Detections`` with an instance mask and a
            confidence each.

        Raises:
            UserError: two classes of one name, whose masks nothing would tell apart; and as
                :meth:`~ovseg.integrations.pre_labels.PreLabels.masks`.
        """
        names = {name: name for name in self.classes}
        if len(names) < len(self.classes):
            raise UserError('Two of the classes have the same name: remove one.')
        found = self.pre_labels.masks(arg, names)
        if self.pre_labels.task != 'semantic':
            return fiftyone.Detections(detections=[detection(each) for each in found])
        mask = np.zeros(arg.shape[:2], np.uint8 if len(self.classes) < 256 else np.uint16)
        for each in found:
            mask[each.mask] = each.label + 1
        return fiftyone.Segmentation(mask=mask)


def detection(found: NamedMask) -> fiftyone.Detection:
    """A segment with its box in shares of the image's sides, and the part of its mask in it.

    Args:
        found: the segment.
    """
    height, width = found.mask.shape
    left, top, right, bottom = found.box
    box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
    return fiftyone.Detection(
        label=found.name,
        bounding_box=box,
        mask=found.mask[top:bottom, left:right],
        confidence=found.score,
    )
