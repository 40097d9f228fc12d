"""The published ways to make labels of SAM 3, as settings of its segmentor.

A rule is a choice among boxes: which heads count and how (``fusion``), how a threshold is compared
(``decision``), which words are asked (``canonical``, ``context``), and of which (``preview``).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ovseg.errors import UserError, nearest

RULES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # The semantic head alone, without presence and with it: SegEarth-OV3's switches.
        'semantic': {'fusion': {'instances': None, 'semantic_presence': 0}},
        'semantic_presence': {'fusion': {'instances': None}},
        # A user's function (facebookresearch/sam3#234): scores of instances add up in a pixel.
        'instances': {
            'fusion': {'instances': 'sum', 'semantic': False, 'instance_presence': 0},
        },
        # arXiv 2512.08730, release: presence enters instances twice.
        'segearth': {'fusion': {}},
        # arXiv 2606.16996, release.
        'activesam': {
            'fusion': {'confidence': 0.3},
            'decision': {'measure': 'margin'},
            'canonical': True,
            'context': {},
            'preview': {},
        },
        # arXiv 2602.06333, release; its prompts come from model.bank.
        'conceptbank': {'fusion': {'confidence': 0.3, 'instance_presence': 0, 'top_k': 30}},
        # arXiv 2604.19648 has no code: as its abstract and a re-implementation say, not compared.
        'coco': {
            'fusion': {'confidence': 0.3, 'instance_presence': 0},
            'competition': {'temperature': 0.1, 'weight': 0.7},
        },
    }
)


def settings_of(rule: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a rule, with those that a config gives beside it.

    Args:
        rule: a name of :data:`RULES`.
        given: fields of boxes by the box; None leaves a box as the rule has it, and False for a box
            of the rule takes it out.

    Raises:
        UserError: an unknown rule.

    Example:
        >>> settings_of('segearth', {'fusion': {'confidence': 0.1}})
        {'fusion': {'confidence': 0.1}}
    """
    if rule not in RULES:
        raise UserError(
            f'model.rule must be one of {", ".join(RULES)}, got {rule!r}.'
            f'{nearest(str(rule), RULES)}'
        )
    settings = copy.deepcopy(dict(RULES[rule]))
    for box, value in given.items():
        if value is False:
            settings.pop(box, None)
        elif isinstance(value, Mapping):
            settings[box] = {**settings.get(box, {}), **value}
        elif value is not None:
            settings[box] = value
    return settings
