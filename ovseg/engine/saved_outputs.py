"""Files saved beside the numbers of a test or validation: names are decided before any image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.runner import Runner

from ovseg.engine.overlays import OverlayHook
from ovseg.evaluation.iou import OVIoUMetric
from ovseg.evaluation.output_names import check_flat_names
from ovseg.evaluation.panoptic import PanopticQualityMetric
from ovseg.files import check_apart


def name_test_outputs(runner: Runner) -> None:
    """Decide where the label maps and pictures of a test go.

    Args:
        runner: with its test loop built.

    Raises:
        UserError: files would replace each other, or files of the data set.
    """
    _name_outputs(runner.test_loop, runner.hooks)


def name_val_outputs(loop: Any) -> None:
    """Decide where the label maps of validations go; each validation writes them anew.

    Args:
        loop: of the validations; one that is not mmengine's is left alone.

    Raises:
        UserError: as in a test.
    """
    if hasattr(loop, 'dataloader') and hasattr(loop, 'evaluator'):
        _name_outputs(loop, ())


def _name_outputs(loop: Any, hooks: Iterable[Any]) -> None:
    dataset = loop.dataloader.dataset
    folders: list[tuple[str, str]] = []
    for saver in [*loop.evaluator.metrics, *hooks]:
        folder, option = _folder_of(saver)
        if not folder:
            continue
        if isinstance(saver, OVIoUMetric | PanopticQualityMetric | OverlayHook):
            saver.name_outputs(dataset)
        else:
            check_flat_names(dataset, folder, option, with_ending=option == '--show-dir')
        folders.append((option, folder))
        check_apart(folders)


def _folder_of(saver: Any) -> tuple[str | None, str]:
    """Where a metric or hook saves files of images, and the option that asks for it."""
    if isinstance(saver, OverlayHook):
        return (None if saver.folder is None else str(saver.folder)), '--show-dir'
    if getattr(saver, 'test_out_dir', None):
        return saver.test_out_dir, '--show-dir'
    return getattr(saver, 'output_dir', None), '--out'
