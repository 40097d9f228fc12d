"""Training scenes with phrases and the masks of what each names, as SAM 3's data have them.

Source: SAM 3 (arXiv 2511.16719): an image, a noun phrase, and masks of all its instances; phrases
that name nothing in the image, the hard ones among them; boxes as examples, good and bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ovseg.errors import UserError
from ovseg.registry import DATASETS
from ovseg.scenes.captions import with_article
from ovseg.scenes.draw import Camera, Picture, draw
from ovseg.scenes.world import (
    CANVAS,
    COLORS,
    MATERIALS,
    OBJECTS,
    Scene,
    allowed_pairs,
    draw_lots,
    drawn_pairs,
    scene_random,
)

STRIDE = 2  # pixels of the picture for each cell of a mask
# What boxes alone are asked with, as in SAM 3.
VISUAL = 'visual'
# A box that is none, as in transformers.
NO_BOX = -10
MOST_BOXES = 2
# Cells of a mask from which on its object can be told.
_CLEAR = 8
# Share of scenes of few kinds, in which several instances and colours of one are likely.
_FEW_KINDS = 0.4
# Shares of phrases that name something there, and of those with boxes: alone, beside the phrase,
# and on what is not meant.
_THERE = 0.6
_ALONE, _BESIDE, _NEGATIVE = 0.1, 0.08, 0.08
# Share of phrases with an article before a single noun.
_ARTICLE = 0.2


@dataclass(frozen=True)
class Concept:
    """What a phrase names.

    Attributes:
        material: index into ``MATERIALS``, or None for objects.
        kind: index into ``OBJECTS``; None for objects of any kind.
        color: index into ``COLORS``; None for objects of any colour.
    """

    material: int | None = None
    kind: int | None = None
    color: int | None = None

    @property
    def name(self) -> str:
        """The words for it.

        Example:
            >>> Concept(kind=0, color=1).name
            'orange star'
        """
        if self.material is not None:
            return MATERIALS[self.material]
        words = [] if self.color is None else [list(COLORS)[self.color]]
        return ' '.join([*words, *([] if self.kind is None else [OBJECTS[self.kind]])])

    def holds(self, other: Concept) -> bool:
        """Whether something of the other is also of this one.

        Args:
            other: says all of a material, or kind and colour of an object.
        """
        if self.material is not None or other.material is not None:
            return self.material == other.material
        return self.kind in (None, other.kind) and self.color in (None, other.color)


def concepts_of(scene: Scene, picture: Picture) -> tuple[list[Concept], npt.NDArray[np.bool_]]:
    """Returns what is in a picture, and where: each object, and each material as a whole.

    Args:
        scene: the scene drawn.
        picture: the view of it.

    Returns:
        M concepts and their masks (M, H, W), of what can be seen at all.
    """
    numbers = np.unique(picture.owner)
    found = [
        Concept(material=int(number))
        if number < len(MATERIALS)
        else _of_thing(scene, int(number) - len(MATERIALS))
        for number in numbers
    ]
    return found, picture.owner[None] == numbers[:, None, None]


def _of_thing(scene: Scene, number: int) -> Concept:
    thing = scene.things[number]
    return Concept(kind=thing.kind, color=thing.color)


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The box (centre x, centre y, width, height) of a mask (H, W), in [0, 1] of its sides.

    Example:
        >>> box_of(np.array([[False, True], [False, True]]))
        (0.75, 0.5, 0.5, 1.0)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    top, bottom = rows[0] / height, (rows[-1] + 1) / height
    left, right = columns[0] / width, (columns[-1] + 1) / width
    return (
        float(left + right) / 2,
        float(top + bottom) / 2,
        float(right - left),
        float(bottom - top),
    )


@dataclass(frozen=True)
class Question:
    """What is asked of a picture, and the answer.

    Attributes:
        phrase: the words.
        members: indices of the instances that it is about.
        boxes: indices of instances with a label: 1 for one that is meant, 0 for one that is not.
    """

    phrase: str
    members: tuple[int, ...]
    boxes: tuple[tuple[int, int], ...] = ()


def ask(
    rng: np.random.Generator, found: Sequence[Concept], clear: npt.NDArray[np.bool_], count: int
) -> list[Question]:
    """Draws questions about a picture.

    Phrases of something of which a part is not clear are not drawn: nobody could tell the answer.

    Args:
        rng: chooses.
        found: what is there, M concepts.
        clear: (M,) whether each can be told.
        count: how many questions; phrases come again where there are fewer.
    """
    there, absent = _phrases(found, clear)
    wanted = int(rng.binomial(count, _THERE)) if there else 0
    questions = [
        _with_boxes(rng, found, clear, concept)
        for concept in _some(rng, there, max(wanted, 0 if absent else count))
    ]
    questions += [
        Question(_worded(rng, concept), ())
        for concept in _some(rng, absent, count - len(questions))
    ]
    return questions


def _phrases(
    found: Sequence[Concept], clear: npt.NDArray[np.bool_]
) -> tuple[list[Concept], list[Concept]]:
    """Concepts that are there, and those that are not; the ones near to what is there twice."""
    pairs = [Concept(kind=kind, color=color) for kind, color in allowed_pairs('train')]
    plain = [
        *(Concept(material=number) for number in range(len(MATERIALS))),
        *(Concept(kind=number) for number in range(len(OBJECTS))),
    ]
    colors = [Concept(color=number) for number in range(len(COLORS))]
    there, absent = [], []
    for concept in (*plain, *pairs, *colors):
        own = [is_clear for one, is_clear in zip(found, clear, strict=True) if concept.holds(one)]
        if own and all(own):
            there.append(concept)
        elif not own:
            absent.append(concept)
    kinds, tones = {one.kind for one in found}, {one.color for one in found}
    near = [
        one for one in absent if one in plain or one in colors or one.kind in kinds
        or one.color in tones
    ]  # fmt: skip
    return there, near


def _some(rng: np.random.Generator, among: Sequence[Concept], count: int) -> list[Concept]:
    if not among or count < 1:
        return []
    # Of each sort as often as of another: plain words are few and pairs many.
    sorts = [(one.material is None) + (one.color is not None) * 2 for one in among]
    weights = np.array([1 / sorts.count(sort) for sort in sorts])
    repeats = count > len(among)
    chosen = rng.choice(len(among), count, replace=repeats, p=weights / weights.sum())
    return [among[number] for number in chosen]


def _worded(rng: np.random.Generator, concept: Concept) -> str:
    is_noun = concept.material is None and concept.kind is not None
    if not is_noun or rng.uniform() >= _ARTICLE:
        return concept.name
    return with_article(concept.name)


def _with_boxes(
    rng: np.random.Generator,
    found: Sequence[Concept],
    clear: npt.NDArray[np.bool_],
    concept: Concept,
) -> Question:
    members = [number for number, one in enumerate(found) if concept.holds(one)]
    question = Question(_worded(rng, concept), tuple(members))
    # Boxes are about a kind or a material as a whole; a colour alone is not told by a box.
    if concept.color is not None:
        return question
    draw_of = rng.uniform()
    one = int(members[rng.integers(len(members))])
    if draw_of < _ALONE:
        shown = [int(number) for number in rng.permutation(members)[:MOST_BOXES]]
        return replace(question, phrase=VISUAL, boxes=tuple((number, 1) for number in shown))
    if draw_of < _ALONE + _BESIDE:
        return replace(question, boxes=((one, 1),))
    if draw_of < _ALONE + _BESIDE + _NEGATIVE:
        # What looks like the bad example is not meant either.
        kept = tuple(number for number in members if not found[one].holds(found[number]))
        return replace(question, members=kept, boxes=((one, 0),))
    return question


@DATASETS.register_module()
class ScenePhrasesMasksDataset(Dataset):
    """Views of training scenes with questions and the masks of their answers, drawn when asked for.

    A sample is a function of (number, seed). Pairs of object and colour that are held out are
    neither drawn nor named.

    Args:
        num_scenes: how many there are; costs nothing.
        size: side of a picture in pixels, even.
        questions: how many a picture is asked.
        span: smallest and largest side of the part of a scene seen, in pixels of its 192 x 192
            canvas; half of the parts are as large as they can be.
        seed: number of the whole data set.

    Raises:
        UserError: a number below 1, a odd size, or a span that is none in (0, 192].
    """

    def __init__(
        self,
        num_scenes: int,
        size: int = 96,
        questions: int = 6,
        span: tuple[float, float] = (96, CANVAS),
        seed: int = 0,
    ) -> None:
        if (
            min(num_scenes, size, questions) < 1
            or size % STRIDE
            or not 0 < span[0] <= span[1] <= CANVAS
        ):
            raise UserError(
                'ScenePhrasesMasksDataset: num_scenes, size and questions must be above 0, size '
                f'even and span in (0, {CANVAS}], got {num_scenes}, {size}, '
                f'{questions} and {span}'
            )
        self.num_scenes, self.size, self.questions = num_scenes, size, questions
        self.span, self.seed = (span[0], span[1]), seed

    def __len__(self) -> int:
        """Number of views."""
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a picture, P questions and their answers.

        ``inputs`` is (3, size, size) uint8 RGB; ``phrases`` an array of P strings, as mmengine's
        collating takes lists apart and would mix the phrases of pictures; ``masks`` (M, size / 2,
        size / 2) bool of all instances; ``members`` (P, M) bool, which of them a question is about;
        ``boxes`` (P, 2, 4), centre and size in [0, 1], and ``box_labels`` (P, 2): 1, 0, or -10 for
        no box.
        """
        rng = scene_random('train', int(index), self.seed)
        scene = draw_lots(rng, drawn_pairs(rng, 'train', _FEW_KINDS))
        smallest, largest = self.span
        seen = largest if rng.uniform() < 0.5 else rng.uniform(smallest, largest)
        left, top = rng.uniform(0, 1, 2) * (CANVAS - seen)
        picture = draw(scene, Camera(left, top, (self.size, self.size), self.size / seen))
        cells = self.size // STRIDE
        coarse = draw(scene, Camera(left, top, (cells, cells), cells / seen))
        found, masks = concepts_of(scene, coarse)
        questions = ask(rng, found, masks.sum((1, 2)) >= _CLEAR, self.questions)
        members = torch.zeros(self.questions, len(found), dtype=torch.bool)
        boxes = torch.zeros(self.questions, MOST_BOXES, 4)
        labels = torch.full((self.questions, MOST_BOXES), NO_BOX)
        for row, question in enumerate(questions):
            members[row, list(question.members)] = True
            for place, (number, label) in enumerate(question.boxes):
                boxes[row, place] = torch.tensor(box_of(masks[number]))
                labels[row, place] = label
        return {
            'inputs': torch.from_numpy(picture.image).permute(2, 0, 1).contiguous(),
            'phrases': np.array([question.phrase for question in questions]),
            'masks': torch.from_numpy(masks),
            'members': members,
            'boxes': boxes,
            'box_labels': labels,
        }
