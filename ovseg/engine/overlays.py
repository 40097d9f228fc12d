"""Pictures of predictions while a test runs, with the names and colours of the vocabulary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ovseg.engine.checkpoint import unwrap
from ovseg.errors import UserError
from ovseg.evaluation.output_names import names_of_outputs
from ovseg.files import written_whole
from ovseg.registry import HOOKS
from ovseg.result_files import png_mark
from ovseg.visualization.comparison import draw_comparison
from ovseg.visualization.draw import draw_overlay
from ovseg.visualization.segments import draw_segments


@HOOKS.register_module()
class OverlayHook(Hook):
    """Paints predictions over their images, to look at or to keep.

    Where the data set has labels, the ground truth stands beside the prediction. Names and colours
    come from the model's vocabulary, else from the data set.

    Args:
        folder: where ``<image name>.png`` go, in folders as the images; None to keep none.
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
        self._names: dict[str, Path] = {}
        self.show = show
        self.wait_time = wait_time
        self.opacity = opacity

    def name_outputs(self, dataset: Any) -> None:
        """Decide where pictures go, before the first image.

        Args:
            dataset: what will be tested.

        Raises:
            UserError: ``folder`` is one of the data set.
        """
        if self.folder is not None:
            self._names = names_of_outputs(dataset, self.folder, '--show-dir')

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
            picture = self._painted(sample, data_batch, position, names, palette, background)
            if self.folder is not None:
                flat = self.folder / f'{Path(sample.img_path).stem}.png'
                _save(picture, self._names.get(str(sample.img_path), flat))
            if self.show:
                _show(picture, Path(sample.img_path).name, self.wait_time)

    def _painted(
        self,
        sample: Any,
        data_batch: Any,
        position: int,
        names: list[str],
        palette: list,
        background: int | None,
    ) -> np.ndarray:
        """One picture: segments where some were found, else labels, beside the truth if known."""
        if 'pred_segments' in sample:
            found = sample.pred_segments
            ids = found.ids.cpu().numpy()
            image = _image_of(sample.img_path, data_batch, position, ids.shape)
            return draw_segments(image, ids, found.segments, names, palette, self.opacity)
        labels = sample.pred_sem_seg.data.cpu().numpy()
        labels = labels.reshape(labels.shape[-2:])
        image = _image_of(sample.img_path, data_batch, position, labels.shape)
        truth = _truth_of(sample, labels.shape)
        style = (names, palette, background, self.opacity)
        if truth is None:
            return draw_overlay(image, labels, *style)
        return draw_comparison(image, labels, truth, *style)

    def _classes(self, runner: Runner) -> tuple[list[str], list, int | None]:
        vocabulary = getattr(unwrap(runner.model), 'vocabulary', None)
        if vocabulary is not None:
            return list(vocabulary.names), list(vocabulary.palette), vocabulary.background_index
        meta = runner.test_dataloader.dataset.metainfo
        return list(meta['classes']), list(meta['palette']), None


def _save(picture: np.ndarray, path: Path) -> None:
    with written_whole(path) as temporary:
        # Fast rather than small: there is one for each image of a data set.
        settings: dict[str, Any] = {'pnginfo': png_mark('overlay'), 'compress_level': 1}
        Image.fromarray(picture).save(temporary, format='PNG', **settings)


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
    image = _decoded(path) if os.path.isfile(path) else None
    if image is None:
        inputs = data_batch['inputs']
        # Test-time augmentation: the first version of each image.
        inputs = inputs[0] if isinstance(inputs[0], (list, tuple)) else inputs
        image = inputs[position].permute(1, 2, 0).byte().cpu().numpy()
    if image.shape[:2] != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image[..., ::-1])


def _decoded(path: str) -> np.ndarray | None:
    """(H, W, 3) uint8 BGR of a file; OpenCV itself does not open names that are no Unicode."""
    data = np.fromfile(path, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None


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
