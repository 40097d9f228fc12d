"""A test of an embedded model on data of the user's: numbers that mean nothing are said so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ovseg.engine.checkpoint import unwrap
from ovseg.errors import UserError
from ovseg.images.reading import load_rgb
from ovseg.registry import HOOKS
from ovseg.scenes.appearance import looks_drawn
from ovseg.scenes.small_world import SmallWorld
from ovseg.zoo import find_model
from ovseg.zoo.worlds import FOR_PHOTOGRAPHS

_PICTURES = 8


@HOOKS.register_module()
class SmallWorldHook(Hook):
    """Says before a test which of its words and pictures a model of Scenes cannot know.

    Some pictures of the data set are looked at, from its first to its last; it is doubted if more
    than half of them look unlike scenes. Drawn ones, which are no files, are scenes.

    Args:
        model: what the model is called.
    """

    def __init__(self, model: str) -> None:
        self.world = SmallWorld(model, f'configs/{find_model(FOR_PHOTOGRAPHS).config}')

    def before_test(self, runner: Runner) -> None:
        """Looks at the model's words and at some pictures."""
        if not is_main_process():
            return
        vocabulary = getattr(unwrap(runner.model), 'vocabulary', None)
        words = None if vocabulary is None else self.world.doubt_of_words(vocabulary)
        for doubt in (words, self._doubt_of_pictures(runner.test_dataloader.dataset)):
            if doubt is not None:
                MMLogger.get_current_instance().warning(doubt)

    def _doubt_of_pictures(self, dataset: Any) -> str | None:
        verdicts = {path: looks_drawn(image) for path, image in _pictures(dataset)}
        strange = [path for path, is_drawn in verdicts.items() if not is_drawn]
        if 2 * len(strange) <= len(verdicts):
            return None
        return self.world.unlike_scenes(
            f'{len(strange)} of {len(verdicts)} images of the data set that were looked at, the '
            f'first {strange[0]}, do',
            'photographs',
            'such ones',
        )


def _pictures(dataset: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Some images of a data set with their paths; what cannot be read is told when it is its turn.

    Yields:
        The path and the image (H, W, 3) uint8 RGB.
    """
    if not hasattr(dataset, 'get_data_info'):
        return
    count = len(dataset)
    for index in np.unique(np.linspace(0, count - 1, min(count, _PICTURES)).astype(int)):
        path = str(dataset.get_data_info(int(index)).get('img_path') or '')
        if not os.path.isfile(path):
            continue
        try:
            yield path, load_rgb(path)
        except (UserError, FileNotFoundError):
            continue
