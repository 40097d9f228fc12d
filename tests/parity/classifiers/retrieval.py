"""Parity with CorrCLIPv2's bank: what neighbours say of regions, and how it is averaged in."""

from __future__ import annotations

from pathlib import Path

from ovseg.regions.retrieval import support_embeddings
from ovseg.scores.row_map import Painted, WindowMaps
from parity.report import Case, Tolerance

_LOGITS = Tolerance(atol=1e-5)


def check_fusion(file: Case, folder: Path) -> None:
    """Neighbours, of which some may be missing, to the logits of regions and of the image."""
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('outputs')
    config.use('classes', 'dim', 'regions', 'k')
    numbers = inputs['regions'].unique(return_inverse=True)[1]
    own = inputs['own_logits']
    size = (own.shape[2], own.shape[3])
    support = support_embeddings(inputs['bank'], inputs['indices'])
    of_regions = inputs['text'] @ support.T
    image = WindowMaps(own, [(0, 0, *size)], size)
    # Upstream's alpha is what the image's own scores count.
    for name, share in (('support_logits', 1.0), ('fused', 1.0 - config['alpha'])):
        found = Painted(image, of_regions, numbers, share).rows(0, size[0])
        wanted.compare(_LOGITS, {name: found[None]})
