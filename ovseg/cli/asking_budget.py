"""``--budget``: how much of SAM 3 an image is worth, beside a dense model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError

if TYPE_CHECKING:
    from ovseg.apis.segmenter import OpenVocabSegmenter

BUDGETS = ('dense', 'preselected', 'full')


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Adds the option.

    Args:
        parser: receives it.
    """
    parser.add_argument(
        '--budget',
        choices=BUDGETS,
        help='of a model that asks for each word by itself (sam3-preselected): ask for none '
        '(dense), for those that a cheap look finds (preselected), or for all (full)',
    )


def set_budget(segmenter: OpenVocabSegmenter, budget: str | None) -> None:
    """Has a model ask as much as the command line says.

    Args:
        segmenter: whose model.
        budget: of :data:`BUDGETS`, or None for what its config says.

    Raises:
        UserError: the model asks for all words at once, or has no dense model.
    """
    if budget is None:
        return
    model: Any = segmenter.model
    if not hasattr(model, 'set_budget'):
        raise UserError(
            f'--budget is for models that ask for each word by itself, such as sam3-preselected; '
            f'{segmenter.name} asks for all at once: leave it out'
        )
    model.set_budget(budget)
