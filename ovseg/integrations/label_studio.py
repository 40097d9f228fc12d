"""A machine learning backend for Label Studio: the labels of the project's interface are the words.

``label-studio-ml`` starts it from a folder whose ``model.py`` imports :class:`OvsegBackend`. Each
request brings the interface as it is now, so changed labels give new pre-labels. Settings are
environment variables: ``OVSEG_MODEL``, ``OVSEG_BACKGROUND`` and so on, one a field of
:class:`~ovseg.integrations.pre_labels.PreLabels`, and ``OVSEG_TOLERANCE`` of polygons, in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.errors import UserError
from ovseg.images.reading import load_rgb
from ovseg.integrations.pre_labels import PreLabels
from ovseg.mask_polygons import check_tolerance

try:
    from label_studio_ml.model import LabelStudioMLBase
    from label_studio_ml.response import ModelResponse
    from label_studio_sdk.converter.brush import mask2rle
except ImportError as error:
    raise UserError(
        'A backend runs inside label-studio-ml, which is missing: pip install '
        '"label-studio-ml @ git+https://github.com/HumanSignal/label-studio-ml-backend.git".'
    ) from error

# The tags that can be filled, and what their regions are called.
REGIONS = {
    'BrushLabels': 'brushlabels',
    'PolygonLabels': 'polygonlabels',
    'RectangleLabels': 'rectanglelabels',
}


class OvsegBackend(LabelStudioMLBase):
    """Fills the first ``BrushLabels``, ``PolygonLabels`` or ``RectangleLabels`` of an ``Image``.

    A label's words are its ``predicted_values``, if it has some, else its ``value``. Label Studio
    makes an object of this class for each request; all share one model.
    """

    def setup(self) -> None:
        """Says which model it is."""
        self.set('model_version', f'ovseg {settings_of(os.environ).model}')

    def predict(
        self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any
    ) -> ModelResponse:
        """The regions of each task, in its image's order of masks, with scores.

        Args:
            tasks: with the address of an image.
            context: what an annotator just drew; it plays no part.
            kwargs: of the request; they play no part.

        Raises:
            UserError: the interface has no tag that can be filled, or a setting is none.
        """
        control = fillable(self.label_interface.controls)
        pre_labels = shared(settings_of(os.environ))
        tolerance = number('OVSEG_TOLERANCE', os.environ.get('OVSEG_TOLERANCE', '1'))
        predictions = []
        for task in tasks:
            address = task['data'][control.objects[0].value_name]
            image = load_rgb(self.get_local_path(address, task_id=task.get('id')))
            found = pre_labels.masks(image, words_of(control))
            regions = [region for each in found for region in regions_of(each, control, tolerance)]
            scores = [each.score for each in found if each.score is not None]
            predictions.append(
                {'result': regions, 'score': float(np.mean(scores)) if scores else None}
            )
        response = ModelResponse(predictions=predictions)
        response.set_version(str(self.model_version))
        return response


@lru_cache(maxsize=1)
def shared(pre_labels: PreLabels) -> PreLabels:
    """The same object for the same settings, so that its model is built once."""
    return pre_labels


def settings_of(variables: Mapping[str, str]) -> PreLabels:
    """What the environment says.

    Args:
        variables: of the environment.

    Raises:
        UserError: a value that is no number where one is wanted.
    """
    given: dict[str, Any] = {}
    for field in fields(PreLabels):
        name = f'OVSEG_{field.name.upper()}'
        if variables.get(name):
            given[field.name] = variables[name]
    if 'threshold' in given:
        given['threshold'] = number('OVSEG_THRESHOLD', given['threshold'])
    if 'min_pixels' in given:
        least = number('OVSEG_MIN_PIXELS', given['min_pixels'])
        given['min_pixels'] = int(least) if least.is_integer() else least
    return PreLabels.of(given)


def number(name: str, text: str) -> float:
    """The number that a variable of the environment holds.

    Raises:
        UserError: it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f'{name} must be a number, got {text!r}.') from error


def fillable(controls: Sequence[Any]) -> Any:
    """The first tag of an interface that masks can fill.

    Args:
        controls: tags of ``label_studio_sdk``.

    Raises:
        UserError: there is none.
    """
    for control in controls:
        if control.tag in REGIONS and any(each.tag == 'Image' for each in control.objects):
            return control
    raise UserError(
        f'The labelling interface has no tag that ovseg can fill: use {", ".join(REGIONS)} '
        'for an Image.'
    )


def words_of(control: Any) -> dict[str, str]:
    """The labels of a tag as regions name them, each with the words that it stands for.

    Args:
        control: a tag of ``label_studio_sdk``.
    """
    return {
        name: label.attr.get('predicted_values') or label.attr.get('value') or name
        for name, label in control.labels_attrs.items()
    }


def regions_of(found: NamedMask, control: Any, tolerance: float) -> Iterator[dict[str, Any]]:
    """The regions of one mask: a brush, or a polygon or rectangle a connected part.

    Args:
        found: the mask.
        control: the tag to fill.
        tolerance: of polygons, in pixels.
    """
    kind = REGIONS[control.tag]
    height, width = found.mask.shape
    # Label Studio counts in percent of the sides.
    percent = np.array([100 / width, 100 / height])
    values: list[dict[str, Any]]
    if kind == 'brushlabels':
        values = [{'format': 'rle', 'rle': mask2rle(found.mask.astype(np.uint8) * 255)}]
    elif kind == 'rectanglelabels':
        values = [_rectangle(np.reshape(box, (2, 2)) * percent) for box in found.boxes()]
    else:
        lines = found.lines(check_tolerance(tolerance), whole=False)
        values = [{'points': (line * percent).tolist(), 'closed': True} for line in lines]
    for value in values:
        yield {
            'id': uuid4().hex[:10],
            'from_name': control.name,
            'to_name': control.to_name[0],
            'type': kind,
            'original_width': width,
            'original_height': height,
            'image_rotation': 0,
            'value': {**value, kind: [found.name]},
            **({} if found.score is None else {'score': float(found.score)}),
        }


def _rectangle(corners: npt.NDArray[np.float64]) -> dict[str, float]:
    """A rectangle as Label Studio has it, of its first and last corner in percent."""
    (left, top), (right, bottom) = corners.tolist()
    return {'x': left, 'y': top, 'width': right - left, 'height': bottom - top, 'rotation': 0}
