"""The rules by name: from exemplars beside words to a classifier."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ovseg.errors import UserError, nearest, notify
from ovseg.exemplars.bayes import bayes
from ovseg.exemplars.gda import gda
from ovseg.exemplars.kindred import kindred
from ovseg.exemplars.leave_one_out import leave_one_out
from ovseg.exemplars.multi_modal import multi_modal
from ovseg.exemplars.proto_clip import proto_clip
from ovseg.exemplars.prototypes import prototypes
from ovseg.exemplars.rns import rns
from ovseg.exemplars.support import Support
from ovseg.exemplars.tip_adapter import tip_adapter
from ovseg.text import Classifier

RULES: Mapping[str, Callable[..., Classifier]] = {
    'bayes': bayes,
    'proto': prototypes,
    'kindred': kindred,
    'gda': gda,
    'tip': tip_adapter,
    'proto-clip': proto_clip,
    'multi-modal': multi_modal,
    'rns': rns,
}
# Words alone, whatever was taught.
TEXT = 'text'
RULE_NAMES = (*RULES, TEXT)
# On Scenes it is ahead of the Bayes rule where some classes have no examples; docs/examples.md.
DEFAULT_RULE = 'kindred'
# Mixing weights that leave-one-out can choose: what is tried, and what is taken if it cannot.
LEAVE_ONE_OUT = 'loo'
_WEIGHTS: Mapping[tuple[str, str], tuple[tuple[float, ...], float]] = {
    ('proto', 'share'): (tuple(index / 10 for index in range(11)), 0.5),
    ('gda', 'alpha'): ((0.001, 0.01, 0.1, 1.0, 10.0, 100.0), 1.0),
    ('tip', 'alpha'): ((0.1, 1.0, 10.0, 30.0, 100.0, 300.0), 1.0),
}


class Rule:
    """A rule and its settings, checked.

    Args:
        name: of :data:`RULE_NAMES`, or a table of ``name`` and settings of the rule's function;
            ``'loo'`` as share of proto or alpha of gda or tip has leave-one-out choose it.

    Attributes:
        name: of the rule.
        settings: further arguments of its function.

    Raises:
        UserError: an unknown rule or setting.
    """

    def __init__(self, name: str | Mapping[str, Any] = DEFAULT_RULE) -> None:
        settings = {'name': name} if isinstance(name, str) else dict(name)
        self.name = str(settings.pop('name', DEFAULT_RULE))
        if self.name not in RULE_NAMES:
            raise UserError(
                f'unknown rule {self.name!r} for exemplars, use one of {", ".join(RULE_NAMES)}.'
                + nearest(self.name, RULE_NAMES)
            )
        known = list(inspect.signature(RULES[self.name]).parameters)[1:] if self.uses else []
        for key in settings:
            if key not in known:
                raise UserError(
                    f'unknown setting {key!r} of the rule {self.name}, it has '
                    f'{", ".join(known) or "none"}.{nearest(str(key), known)}'
                )
            if settings[key] == LEAVE_ONE_OUT and (self.name, key) not in _WEIGHTS:
                raise UserError(
                    f'{key} of the rule {self.name} cannot be chosen by leave-one-out, give a value'
                )
        self.settings = settings

    @property
    def uses(self) -> bool:
        """Whether exemplars count."""
        return self.name != TEXT

    def __call__(self, support: Support) -> Classifier:
        """The classifier of exemplars beside words.

        Args:
            support: one class has exemplars at least.
        """
        rule, settings = RULES[self.name], dict(self.settings)
        for key in [key for key, value in settings.items() if value == LEAVE_ONE_OUT]:
            others = {other: value for other, value in settings.items() if other != key}

            def weighted(
                rest: Support, weight: float, key: str = key, others: dict[str, Any] = others
            ) -> Classifier:
                return rule(rest, **others, **{key: weight})

            chosen = leave_one_out(support, weighted, *_WEIGHTS[self.name, key])
            notify(f'{self.name}: {chosen.said(key)}')
            settings[key] = chosen.weight
        return rule(support, **settings)

    def __repr__(self) -> str:
        settings = ', '.join(f'{key}={value}' for key, value in self.settings.items())
        return f'{self.name}({settings})' if settings else self.name
