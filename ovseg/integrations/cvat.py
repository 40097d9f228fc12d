"""Automatic annotation in CVAT: the task's labels are the words.

``cvat-cli task auto-annotate ID --function-module ovseg.integrations.cvat -p task=int:ID`` calls
:func:`create` with what follows ``-p``; in Python,
``cvat_sdk.auto_annotation.annotate_task(client, ID, create(task=ID))`` is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.integrations.pre_labels import PreLabels
from ovseg.mask_polygons import check_tolerance
from ovseg.vocabulary import build_vocabulary

if TYPE_CHECKING:
    from cvat_sdk.auto_annotation import DetectionFunctionContext, DetectionFunctionSpec
    from cvat_sdk.models import LabeledShapeRequest
    from PIL import Image

# What a label may say that its shapes are; `any` are drawn as masks.
SHAPES = ('any', 'mask', 'polygon', 'rectangle')


def create(
    labels: str = '',
    task: int | None = None,
    project: int | None = None,
    server: str = '',
    profile: str = '',
    tolerance: float = 1.0,
    **settings: Any,
) -> CvatFunction:
    """The function that CVAT asks about each image.

    Args:
        labels: the words, ``cat, kitten; dog``, with masks as shapes; a label is called as the
            first of its words. Or else one of the next two.
        task: its number; its labels are read from the server, with the types of their shapes.
        project: likewise.
        server: such as ``https://app.cvat.ai``; by default that of the profile, or this machine's.
            The token is read from the environment variable ``CVAT_ACCESS_TOKEN``, or from a
            profile.
        profile: of ``cvat-cli profile``.
        tolerance: of polygons, in pixels.
        settings: of :class:`~ovseg.integrations.pre_labels.PreLabels`, such as ``model``.

    Raises:
        UserError: cvat-sdk is missing; not one of labels, task and project is given, or two are;
            no label has a shape that can be drawn; a setting that is none; labels with a rejection
            rule.
    """
    if sum([bool(labels), task is not None, project is not None]) != 1:
        raise UserError(
            'CVAT needs words: give one of -p task=int:ID, -p project=int:ID (their labels are '
            'read from the server) and -p "labels=str:cat; dog".'
        )
    if not labels:
        shapes = _labels_on_server(task, project, server, profile)
        return CvatFunction(shapes, PreLabels.of(settings), tolerance)
    vocabulary = build_vocabulary(labels)
    if vocabulary.rejection.rejects:
        raise UserError('These labels have a background of their own: say it by background.')
    words = {each.name: ','.join(each.prompts) for each in vocabulary.classes}
    return CvatFunction(dict.fromkeys(words, 'mask'), PreLabels.of(settings), tolerance, words)


class CvatFunction:
    """What CVAT calls an auto-annotation function: ``spec``, and ``detect`` an image.

    Args:
        shapes: the kind of shape of each label, by name: one of :data:`SHAPES`.
        pre_labels: what is asked.
        tolerance: of polygons, in pixels.
        words: of each label, those that stand for the same with commas between them; None: its
            name is its words.

    Raises:
        UserError: there is no label, the tolerance is no number from 0 on, cvat-sdk is missing.
    """

    def __init__(
        self,
        shapes: Mapping[str, str],
        pre_labels: PreLabels,
        tolerance: float = 1.0,
        words: Mapping[str, str] | None = None,
    ) -> None:
        with of_extra('cvat', 'CVAT is asked by cvat-sdk'):
            from cvat_sdk import auto_annotation, masks
        if not shapes:
            raise UserError(
                'No label can be drawn: CVAT must allow masks, polygons or rectangles for it.'
            )
        self._cvat, self._encode = auto_annotation, masks.encode_mask
        self._shapes = dict(shapes)
        self._words = {label: label for label in shapes} if words is None else dict(words)
        self._tolerance = check_tolerance(tolerance)
        self.pre_labels = pre_labels

    @property
    def spec(self) -> DetectionFunctionSpec:
        """The labels with their shapes; ids are positions."""
        labels = [
            self._cvat.label_spec(name, number, type=shape)
            for number, (name, shape) in enumerate(self._shapes.items())
        ]
        return self._cvat.DetectionFunctionSpec(labels=labels)

    def detect(
        self, context: DetectionFunctionContext, image: Image.Image
    ) -> list[LabeledShapeRequest]:
        """The shapes of the labels in an image, with their scores.

        Args:
            context: with the least confidence wanted, and whether masks must be polygons.
            image: the picture.
        """
        least = context.conf_threshold or 0.0
        return [
            shape
            for each in self.pre_labels.masks(image, self._words)
            if each.score is None or each.score >= least
            for shape in self._drawn(each, context.conv_mask_to_poly)
        ]

    def _drawn(self, found: NamedMask, as_polygons: bool) -> Iterator[LabeledShapeRequest]:
        """One mask; or a polygon or rectangle a part, polygons of a segment as one group."""
        score = {} if found.score is None else {'score': float(found.score)}
        shape = self._shapes[found.name]
        if shape == 'rectangle':
            for box in found.boxes():
                yield self._cvat.rectangle(found.label, [float(side) for side in box], **score)
        elif shape == 'polygon' or as_polygons:
            lines = found.lines(self._tolerance, whole=False)
            group = {'group': found.segment} if found.segment and len(lines) > 1 else {}
            for line in lines:
                points = line.astype(float).ravel().tolist()
                yield self._cvat.polygon(found.label, points, **score, **group)
        else:
            yield self._cvat.mask(found.label, self._encode(found.mask), **score)


def _labels_on_server(
    task: int | None, project: int | None, server: str, profile: str
) -> dict[str, str]:
    """The labels of a task or project that can be drawn, with the kinds of their shapes."""
    with of_extra('cvat', 'CVAT is asked by cvat-sdk'):
        from cvat_sdk.core.auth import ClientAuthParameters, make_client_from_cli
    access = ClientAuthParameters(profile=profile or None, server_host=server or None)
    with make_client_from_cli(access) as client:
        place = client.projects.retrieve(project) if task is None else client.tasks.retrieve(task)
        found = [(label.name, str(label.type)) for label in place.get_labels()]
    return {name: shape for name, shape in found if shape in SHAPES}
