"""Scenes whose things are told apart: two stars side by side are two segments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ovseg.datasets.panoptic_truth import VOID, PanopticTruth, TrueSegment
from ovseg.registry import DATASETS, TRANSFORMS
from ovseg.scenes.datasets import LoadScene, ScenesDataset
from ovseg.scenes.draw import Picture
from ovseg.scenes.instances import visible_objects
from ovseg.scenes.world import MATERIALS, OBJECTS, Scene


def panoptic_truth(scene: Scene, picture: Picture) -> PanopticTruth:
    """The segments of a scene: each material that is seen, and each object.

    Objects of which hardly anything is seen (:mod:`ovseg.scenes.instances`) have none: their few
    pixels count for nothing.

    Args:
        scene: what there is.
        picture: how it is seen.
    """
    ids = np.zeros(picture.owner.shape, np.int32)
    segments: list[TrueSegment] = []
    materials = [(label, picture.owner == label) for label in range(len(MATERIALS))]
    things = [(len(MATERIALS) + kind, mask) for kind, mask in visible_objects(scene, picture)]
    for label, mask in [*materials, *things]:
        area = int(mask.sum())
        if area:
            number = len(segments) + 1
            ids[mask] = number
            segments.append(TrueSegment(number, label, area))
    return PanopticTruth(ids, tuple(segments))


@TRANSFORMS.register_module()
class LoadPanopticScene(LoadScene):
    """Draws a scene as ``LoadScene`` does, and tells its things apart.

    Added key, beside those of ``LoadScene``: ``panoptic_truth``, a
    :class:`~ovseg.datasets.panoptic_truth.PanopticTruth` at the size of the picture as drawn.
    """

    def _tell_apart(self, results: dict[str, Any], scene: Scene, picture: Picture) -> None:
        found = panoptic_truth(scene, picture)
        numbers = results.get('label_map')
        if numbers is not None:  # of a part of the classes; segments of the others are nobody's
            chosen = [(each, numbers[each.label]) for each in found.segments]
            kept = [(each, new) for each, new in chosen if new != results['ignore_index']]
            found = PanopticTruth(
                np.where(np.isin(found.ids, [each.id for each, _ in kept]), found.ids, VOID),
                tuple(replace(each, label=new) for each, new in kept),
            )
        results['panoptic_truth'] = found


@DATASETS.register_module()
class ScenesPanopticDataset(ScenesDataset):
    """Scenes for panoptic and instance segmentation: materials are stuff, objects are things.

    Args and raises as in :class:`ScenesDataset`; the first step of the pipeline is
    ``LoadPanopticScene``, and ``meta_keys`` of the last one name ``panoptic_truth``, ``img_id`` and
    ``stuff_labels``.
    """

    METAINFO: ClassVar[dict[str, Any]] = {**ScenesDataset.METAINFO, 'thing_classes': OBJECTS}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Returns one recipe a scene, with the classes that are no things."""
        classes = self._metainfo['classes']
        stuff = tuple(label for label, name in enumerate(classes) if name in MATERIALS)
        return [
            {**sample, 'img_id': sample['scene']['index'], 'stuff_labels': stuff}
            for sample in super().load_data_list()
        ]
