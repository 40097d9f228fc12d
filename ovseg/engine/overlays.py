"""Pictures of predictions while a test runs, with the names and colours of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.engine.checkpoint import unwrap
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.registry import HOOKS
from ovseg.visualization.comparison import draw_comparison
from ovseg.visualization.draw import draw_overlay


@HOOKS.register_module()
class OverlayHook(Hook):
    """Paints predictions over their images, to look at or to keep.

    Where the data set has labels, the ground truth stands beside the prediction. Names and colours
    come from the model's vocabulary, else from the data set.

    Args:
        folder: where ``<image name>.png`` go; None to keep none.
        show: open a window for each.
        wait_time: seconds that a window stays.
        opacity: of the paint, in [0, 1].

    Raises:
        UserError: ``show`` without a display.
    """

    def __init__(
        self,
        folder: str | None = None,
        show: bool = False,
        wait_time: float = 2.0,
        opacity: float = 0.5,
    ) -> None:
        if show:
            _check_display()
        self.folder = None if folder is None else Path(folder)
        self.show = show
        self.wait_time = wait_time
        self.opacity = opacity

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Paints each sample of the batch."""
        names, palette, background = self._classes(runner)
        for position, sample in enumerate(outputs or ()):
            labels = sample.pred_sem_seg.data.cpu().numpy()
            labels = labels.reshape(labels.shape[-2:])
            image = _image_of(sample.img_path, data_batch, position, labels.shape)
            truth = _truth_of(sample, labels.shape)
            style = (names, palette, background, self.opacity)
            picture = (
                draw_overlay(image, labels, *style)
                if truth is None
                else draw_comparison(image, labels, truth, *style)
            )
            if self.folder is not None:
                with written_whole(self.folder / f'{Path(sample.img_path).stem}.png') as path:
                    cv2.imwrite(str(path), picture[..., ::-1])
            if self.show:
                _show(picture, Path(sample.img_path).name, self.wait_time)

    def _classes(self, runner: Runner) -> tuple[list[str], list, int | None]:
        vocabulary = getattr(unwrap(runner.model), 'vocabulary', None)
        if vocabulary is not None:
            return list(vocabulary.names), list(vocabulary.palette), vocabulary.background_index
        meta = runner.test_dataloader.dataset.metainfo
        return list(meta['classes']), list(meta['palette']), None


def _truth_of(sample: Any, size: tuple[int, int]) -> np.ndarray | None:
    """The sample's true labels (H, W) at the size of the prediction, or None."""
    if 'gt_sem_seg' not in sample:
        return None
    truth = sample.gt_sem_seg.data.cpu().numpy()
    truth = truth.reshape(truth.shape[-2:])
    if truth.shape != size:
        truth = cv2.resize(truth.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST)
    return truth


def _image_of(path: str, data_batch: Any, position: int, size: tuple[int, int]) -> np.ndarray:
    """The sample's image (H, W, 3) uint8 RGB; generated data have it in the batch only."""
    image = cv2.imread(path, cv2.IMREAD_COLOR) if Path(path).is_file() else None
    if image is None:
        inputs = data_batch['inputs']
        # Test-time augmentation: the first version of each image.
        inputs = inputs[0] if isinstance(inputs[0], (list, tuple)) else inputs
        image = inputs[position].permute(1, 2, 0).byte().cpu().numpy()
    if image.shape[:2] != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image[..., ::-1])


def _check_display() -> None:
    import matplotlib

    if matplotlib.get_backend().lower() == 'agg':
        raise UserError('--show needs a display; keep the pictures with --show-dir DIR instead')


def _show(picture: np.ndarray, title: str, seconds: float) -> None:
    import matplotlib.pyplot as plt

    plt.figure(title)
    plt.imshow(picture)
    plt.axis('off')
    plt.pause(max(seconds, 0.001))
    plt.close()
