"""Files that a test saves beside its numbers: their names are decided before the first image."""

from __future__ import annotations

from typing import Any

from mmengine.runner import Runner

from ovseg.engine.overlays import OverlayHook
from ovseg.evaluation.iou import OVIoUMetric
from ovseg.evaluation.output_names import check_flat_names
from ovseg.files import check_apart


def name_test_outputs(runner: Runner) -> None:
    """Decide where the label maps and pictures of a test go.

    Args:
        runner: with its test loop built.

    Raises:
        UserError: files would replace each other, or files of the data set.
    """
    loop: Any = runner.test_loop
    dataset = loop.dataloader.dataset
    folders: list[tuple[str, str]] = []
    for saver in [*loop.evaluator.metrics, *runner.hooks]:
        folder, option = _folder_of(saver)
        if not folder:
            continue
        if isinstance(saver, OVIoUMetric | OverlayHook):
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
