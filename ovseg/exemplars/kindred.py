"""Prototypes of which classes with alike words learn from each other.

What images have more than words is not the same for all classes: on Scenes that of materials lies
as far from that of objects as either is long. So it is a Gaussian process over classes, whose
kernel is how alike their words are, by cosines of centred words:
``r_c = mu + e_c``, ``cov(e_c, e_c') = rho exp((cos(t_c, t_c') - 1) / a)``. A mean exemplar is
``v_c = t_c + r_c + N(0, omega / n_c)``, and a class has the row ``N(t_c + E[r_c])``, examples or
not. Images are nearer to a row that examples made than to one that is guessed, so guessed rows get
a bias: half of the cosine that a class with examples loses where it is guessed from the others.

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
# New images of a class with examples do not fit its row as the examples do, so not all of the loss
# is due to guessing. On Scenes a half was best of none, a half and all, for two models.
_SHARE_LOST = 0.5


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
    rows = F.normalize(moved, dim=1)
    if bool(has.all()):
        return support.classifier(rows)
    guessed = F.normalize(text[has] + _left_out(inverse, seen), dim=1)
    lost = float((support.means[has] * (rows[has] - guessed)).sum(1).mean())
    return support.classifier(rows, bias=torch.where(has, 0.0, _SHARE_LOST * max(lost, 0.0)))


def _left_out(inverse: Tensor, seen: Tensor) -> Tensor:
    """What each class with examples would be expected to have by the others alone, (K, D).

    Leaving one out of kriging with an unknown mean (Dubrule 1983, doi:10.1007/BF01033232).

    Args:
        inverse: (K, K), of the covariance of what was seen.
        seen: (K, D), what images of each class have more than words.
    """
    sums = inverse.sum(0)
    centred = inverse - torch.outer(sums, sums) / sums.sum()
    return seen - centred @ seen / centred.diagonal()[:, None]


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
