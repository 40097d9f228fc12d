"""Parity with the boundary IoU of CorrCLIP v2."""

from __future__ import annotations

from pathlib import Path

import torch

from ovseg.evaluation.boundary import boundary_counts, boundary_region, boundary_width
from parity.report import EXACT, Case

# The share of the diagonal that upstream's function has by default; the file does not state it.
_DEFAULT_DILATION = 0.02


def check_boundaries(file: Case, folder: Path) -> None:
    """Label maps to the pixels that boundary regions share, at each width of the file."""
    config, inputs = file.inner('config'), file.inner('inputs')
    wanted, inner = file.inner('outputs'), file.inner('intermediate')
    config.use('classes', 'ignore_index', 'height', 'width')
    predicted, labelled = inputs['pred'].numpy(), inputs['gt'].numpy()
    for name in sorted(wanted.content):
        kind, _, dilation = name.rpartition('_')
        counts = boundary_counts(
            predicted, labelled, config['classes'], float(dilation), config['ignore_index']
        )
        found = counts[('intersect', 'union').index(kind)].double()
        wanted.compare(EXACT, {name: found})
    for name in sorted(inner.content):
        label = int(name.removeprefix('boundary_gt'))
        width = boundary_width((config['height'], config['width']), _DEFAULT_DILATION)
        region = torch.from_numpy(boundary_region(labelled == label, width))
        inner.compare(EXACT, {name: region.to(torch.uint8)})
