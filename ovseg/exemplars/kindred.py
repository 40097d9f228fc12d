"""Prototypes of which classes with alike words learn from each other.

What images have more than words is not the same for all classes: on Scenes that of materials lies
as far from that of objects as either is long. So it is a Gaussian process over classes, whose
kernel is how alike their words are, by cosines of centred words:
``r_c = mu + e_c``, ``cov(e_c, e_c') = rho exp((cos(t_c, t_c') - 1) / a)``. A mean exemplar is
``v_c = t_c + r_c + N(0, omega / n_c)``, and a class has the row ``N(t_c + E[r_c])``, examples or
not.

Source: our own; no published method. Without the kernel it is ``proto`` with a fitted share.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.exemplars.prototypes import prototypes
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# What words do not say is at least this share of what exemplars differ from them.
_LEAST_SHARE = 0.1


def kindred(support: Support, reach: float = 1.5) -> Classifier:
    """One row a class: its words, moved as images of classes with alike words say.

    Args:
        support: exemplars beside the words; where one class has some, the rule is ``proto``.
        reach: a, positive; how unlike words may be and still learn from each other.

    Raises:
        UserError: a reach that is no positive number.
    """
    if not reach > 0:
        raise UserError(f'reach of kindred must be positive, got {reach}')
    has, text = support.has, support.text
    if int(has.sum()) < 2:
        return prototypes(support)
    centred = F.normalize(text - support.balanced(text), dim=1)
    kernel = ((centred @ centred.T - 1) / reach).exp()
    seen = (support.means - text)[has]
    inverse = torch.linalg.inv(kernel[has][:, has] + torch.diag(_noise(support, seen)))
    # The mean that fits best under the kernel, then what differs from it.
    common = inverse.sum(0) @ seen / inverse.sum()
    moved = text + common + kernel[:, has] @ (inverse @ (seen - common))
    return support.classifier(F.normalize(moved, dim=1))


def _noise(support: Support, seen: Tensor) -> Tensor:
    """``omega / (n_c rho)`` of the classes with exemplars."""
    number = support.number[support.has]
    classes = len(seen)
    differ = float((seen - seen.mean(0)).square().sum() / (classes - 1))
    freedom = float((number - 1).sum())
    residuals = support.vectors - support.means[support.entry]
    between = float(residuals.square().sum()) / freedom if freedom else differ / 2
    unsaid = max(differ - float((between / number).mean()), _LEAST_SHARE * differ, 1e-12)
    return (between / unsaid / number).clamp_min(1e-9)
