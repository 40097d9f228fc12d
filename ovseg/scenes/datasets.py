"""Scenes as mmseg data sets: drawn when asked for, or read from a folder written before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform

from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.checked import CheckedDataset
from ovseg.datasets.loading import renumber
from ovseg.datasets.originals import pipeline_with_original
from ovseg.errors import UserError, nearest
from ovseg.images.pipeline import LOADERS, pipeline_with_resize
from ovseg.registry import DATASETS, TRANSFORMS
from ovseg.scenes.captions import describe
from ovseg.scenes.draw import Picture, draw, whole
from ovseg.scenes.world import (
    CANVAS,
    COLORS,
    HELDOUT,
    MATERIALS,
    OBJECTS,
    SEEN_PARTNER,
    SPLITS,
    Scene,
    sample_scene,
)

# A material's and an object's colour in overlays; objects take every tone that no material has.
_PALETTE = (
    (120, 190, 240),
    (70, 150, 50),
    (226, 200, 140),
    (20, 90, 170),
    (235, 240, 250),
    (160, 80, 60),
    (150, 105, 60),
    (230, 60, 60),
    (250, 90, 160),
    (255, 150, 30),
    (190, 110, 220),
    (250, 220, 60),
    (40, 220, 200),
    (140, 30, 90),
    (110, 230, 60),
    (20, 110, 90),
    (90, 60, 230),
)
CLASSES = (*MATERIALS, *OBJECTS)
# The phrase test: held-out pairs and, of the same objects, pairs that training saw.
PHRASE_PAIRS = (*HELDOUT.items(), *SEEN_PARTNER.items())
HELDOUT_CLASSES = (*MATERIALS, *(f'{HELDOUT[kind]} {kind}' for kind in OBJECTS))
PHRASE_CLASSES = (*MATERIALS, *(f'{color} {kind}' for kind, color in PHRASE_PAIRS))


# Scenes looked at for each one without some classes, before that is given up.
_LONGEST_SEARCH = 1000


def class_names(scene: Scene) -> list[str]:
    """Returns what is in a scene, also where something else hides it: names of ``CLASSES``."""
    materials = [MATERIALS[region.material] for region in scene.regions]
    return [*materials, *(OBJECTS[thing.kind] for thing in scene.things)]


def class_labels(scene: Scene, picture: Picture) -> npt.NDArray[np.uint8]:
    """Returns the label map (H, W): indices into ``CLASSES``, whatever the objects' colours."""
    kinds = [len(MATERIALS) + thing.kind for thing in scene.things]
    return np.array([*range(len(MATERIALS)), *kinds], np.uint8)[picture.owner]


def phrase_labels(scene: Scene, picture: Picture) -> npt.NDArray[np.uint8]:
    """Returns the label map (H, W): indices into ``PHRASE_CLASSES``.

    Raises:
        ValueError: the scene has an object that is none of the phrases.
    """
    colors = list(COLORS)
    names = [(OBJECTS[thing.kind], colors[thing.color]) for thing in scene.things]
    unknown = set(names) - set(PHRASE_PAIRS)
    if unknown:
        kind, color = sorted(unknown)[0]
        raise ValueError(f"'{color} {kind}' is not one of the phrases; use the split 'phrases'")
    phrases = [len(MATERIALS) + PHRASE_PAIRS.index(name) for name in names]
    return np.array([*range(len(MATERIALS)), *phrases], np.uint8)[picture.owner]


@TRANSFORMS.register_module()
class LoadScene(BaseTransform):
    """Draws a scene of Scenes, in place of reading an image file.

    Required key: ``scene``, the arguments of :func:`sample_scene`, ``zoom``, and ``phrases``, a
    bool. Added keys: ``img`` (H, W, 3) uint8 BGR, ``caption``, the shapes that mmseg's transforms
    read, and ``scene_labels`` (H, W) uint8 for :class:`LoadSceneLabels`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds the picture to the sample."""
        recipe = dict(results['scene'])
        phrases = recipe.pop('phrases')
        zoom = recipe.pop('zoom')
        scene = sample_scene(**recipe)
        picture = draw(scene, whole(scene, zoom))
        results['img'] = np.ascontiguousarray(picture.image[..., ::-1])
        results['img_shape'] = results['ori_shape'] = picture.image.shape[:2]
        results['scene_labels'] = (phrase_labels if phrases else class_labels)(scene, picture)
        results['caption'] = describe(scene, picture)
        self._tell_apart(results, scene, picture)
        return results

    def _tell_apart(self, results: dict[str, Any], scene: Scene, picture: Picture) -> None:
        """Adds what is known of single things; here nothing."""


@TRANSFORMS.register_module()
class LoadSceneLabels(BaseTransform):
    """Adds the labels of a drawn scene, in place of reading a label file.

    After a resize or a flip of the image the labels stay those of the scene as drawn, so
    predictions are compared at the scene's own size.

    Required key: ``scene_labels`` of :class:`LoadScene`. Added key: ``gt_seg_map`` (H, W) uint8.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Moves the labels to where mmseg looks for them."""
        labels = results.pop('scene_labels')
        if results.get('label_map') is not None:  # of a part of the classes
            labels = renumber(labels, results['label_map'])
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@DATASETS.register_module()
class ScenesDataset(CheckedDataset):
    """Procedural labelled scenes: seven materials and ten objects in eight colours, endless.

    A scene is a function of (split, number, seed); nothing is read from disk or kept in memory.
    Every pixel has a label. Splits 'train' and 'val' never hold a held-out pair of object and
    colour; 'heldout' holds no other pairs.

    Args:
        split: 'train', 'val', 'heldout', 'phrases' or 'demo'.
        num_scenes: how many scenes there are.
        size: (height, width) of the world seen, in canvas pixels; objects are 44 to 96 wide.
        zoom: pixels of the image for each pixel of the canvas.
        seed: number of the whole data set.
        resize: the resize rule for the picture right after drawing, or None.
        keep_original: hand the picture on at its own size, too.
        without: classes that no scene shows: the numbers of scenes with them are passed over, so a
            model that learns from these scenes never sees them.
        few_kinds: share of scenes whose objects are of two kinds, before any is passed over, see
            :func:`~ovseg.scenes.world.drawn_pairs`: where things of a kind are to be told apart.
        pipeline: as in mmseg; the first step draws.
        kwargs: as in ``BaseSegDataset``; what is about files is refused.

    Raises:
        UserError: an unknown split or class, a number or size below 1, a share outside [0, 1], or
            no scene without the classes.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        'classes': CLASSES,
        'palette': [list(color) for color in _PALETTE],
        'ignore_index': 255,
    }
    PHRASES: ClassVar[bool] = False
    UNREAD: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            *('ann_file', 'data_root', 'data_prefix', 'img_suffix', 'seg_map_suffix'),
            *('ignore_index', 'reduce_zero_label', 'backend_args'),
        ),
        'scenes are drawn and not read from files, and each pixel has a label',
    )
    FOLDERS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        split: str = 'val',
        num_scenes: int = 200,
        size: tuple[int, int] = (CANVAS, CANVAS),
        zoom: float = 1.0,
        seed: int = 0,
        resize: dict[str, Any] | None = None,
        pipeline: Sequence[dict[str, Any]] = (
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='PackSegInputs'),
        ),
        keep_original: bool = False,
        without: Sequence[str] = (),
        few_kinds: float = 0.0,
        **kwargs: Any,
    ) -> None:
        unknown = sorted(set(without) - set(CLASSES))
        if unknown:
            raise UserError(
                f"{type(self).__name__}: without names '{unknown[0]}', which is not a class of "
                f'Scenes.{nearest(str(unknown[0]), CLASSES)}'
            )
        if split not in SPLITS:
            raise UserError(
                f"{type(self).__name__}: split must be one of {list(SPLITS)}, got '{split}'."
                f'{nearest(str(split), SPLITS)}'
            )
        if num_scenes < 1 or min(size) < 1 or zoom <= 0:
            raise UserError(
                f'{type(self).__name__}: num_scenes, size and zoom must be positive, '
                f'got {num_scenes}, {tuple(size)} and {zoom}'
            )
        if not 0 <= few_kinds <= 1:
            raise UserError(f'{type(self).__name__}: few_kinds must be in [0, 1], got {few_kinds}')
        self.split = split
        self.few_kinds = few_kinds
        self.num_scenes = num_scenes
        self.size = (int(size[0]), int(size[1]))
        self.zoom = zoom
        self.seed = seed
        self.without = frozenset(without)
        self.resize = resize
        steps = pipeline_with_resize(pipeline, resize)
        steps = pipeline_with_original(steps, keep_original, LOADERS)
        super().__init__(pipeline=steps, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Returns one recipe a scene; drawing is left to the pipeline."""
        return [
            {
                'img_path': f'{self.split}_{index:08d}.png',
                'label_map': self.label_map,
                'reduce_zero_label': False,
                'ignore_index': self.ignore_index,
                'seg_fields': [],
                'scene': {
                    'split': self.split,
                    'index': index,
                    'seed': self.seed,
                    'size': self.size,
                    'few_kinds': self.few_kinds,
                    'zoom': self.zoom,
                    'phrases': self.PHRASES,
                },
            }
            for index in self._numbers()
        ]

    def _numbers(self) -> list[int]:
        """The numbers of the scenes."""
        if not self.without:
            return list(range(self.num_scenes))
        found: list[int] = []
        numbers = count()
        while True:
            index = next(numbers)
            scene = sample_scene(self.split, index, self.seed, self.size, self.few_kinds)
            if not self.without & set(class_names(scene)):
                found.append(index)
            if len(found) == self.num_scenes:
                return found
            if index >= _LONGEST_SEARCH * (len(found) + 1):
                raise UserError(
                    f'{type(self).__name__}: hardly any scene is without {sorted(self.without)}; '
                    'name fewer classes'
                )


@DATASETS.register_module()
class ScenesHeldoutDataset(ScenesDataset):
    """Scenes of held-out pairs only, each object under its phrase: 'red star', 'blue heart'.

    The label maps are those of ``ScenesDataset(split='heldout')``, where every object has one
    colour; here the classes say it.

    Args:
        split: 'heldout', the one split with these pairs only.
        kwargs: as in :class:`ScenesDataset`.
    """

    METAINFO: ClassVar[dict[str, Any]] = {**ScenesDataset.METAINFO, 'classes': HELDOUT_CLASSES}

    def __init__(self, split: str = 'heldout', **kwargs: Any) -> None:
        if split != 'heldout':
            raise UserError(f"ScenesHeldoutDataset has one split, 'heldout', got '{split}'")
        super().__init__(split=split, **kwargs)


@DATASETS.register_module()
class ScenesPhrasesDataset(ScenesDataset):
    """Scenes whose classes are phrases: 'red star' is one class and 'blue star' another.

    Of each object there are two colours, one that training never saw it in and one that it did;
    in label order the materials, the ten held-out phrases, the ten seen ones.

    Args:
        split: 'phrases', the one split with these pairs only.
        kwargs: as in :class:`ScenesDataset`.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        'classes': PHRASE_CLASSES,
        'palette': [
            *(list(color) for color in _PALETTE[: len(MATERIALS)]),
            *(list(color) for color in _PALETTE[len(MATERIALS) :]),
            *([channel // 2 for channel in color] for color in _PALETTE[len(MATERIALS) :]),
        ],
        'ignore_index': 255,
    }
    PHRASES: ClassVar[bool] = True

    def __init__(self, split: str = 'phrases', **kwargs: Any) -> None:
        if split != 'phrases':
            raise UserError(f"ScenesPhrasesDataset has one split, 'phrases', got '{split}'")
        super().__init__(split=split, **kwargs)


@DATASETS.register_module()
class ScenesFolderDataset(LabelMapDataset):
    """Scenes that ``tools/make_scenes.py`` wrote to a folder, in the layout of ADE20K.

    Args and raises as in :class:`LabelMapDataset`.
    """

    METAINFO: ClassVar[dict[str, Any]] = ScenesDataset.METAINFO
    IMG_SUFFIX: ClassVar[str] = '.png'
