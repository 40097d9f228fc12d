"""Trains a vision transformer as DINO is trained: a student follows its own slow average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError, nearest
from ovseg.registry import MODELS


def distillation_loss(student: Tensor, targets: Tensor) -> Tensor:
    """Returns the cross-entropy between the teacher's global crops and all other crops.

    Args:
        student: (V, B, K) logits of all crops, divided by the temperature; global ones first.
        targets: (G, B, K) the teacher's distributions over prototypes for the global crops.

    Returns:
        Mean over images and over pairs of two different crops, the teacher's one global.

    Source: DINO (arXiv 2104.14294) equation 3.
    """
    log_students = student.log_softmax(-1)
    pairs = -torch.einsum('gbk,vbk->gv', targets, log_students) / student.shape[1]
    same = torch.eye(len(targets), len(student), dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(same, 0).sum() / (same.numel() - len(targets))


def sinkhorn(logits: Tensor, rounds: int = 3) -> Tensor:
    """Returns distributions over prototypes that use all prototypes alike within the batch.

    Args:
        logits: (N, K), divided by the temperature.
        rounds: how often columns, then rows are normalised.

    Returns:
        (N, K); rows sum to 1, columns nearly to N / K.

    Source: SwAV (arXiv 2006.09882) section 3.1, Sinkhorn-Knopp; tried with DINO in its table 7.
    """
    share = logits
    for _ in range(rounds):
        share = share - share.logsumexp(0, keepdim=True)
        share = share - share.logsumexp(1, keepdim=True)
    return share.exp()


def information(targets: Tensor) -> Tensor:
    """Returns how much targets say about the picture they belong to, in nats.

    It is the entropy of the mean target less the mean entropy: 0 if all pictures have the same
    target, be it flat or a single prototype, which is what a collapsed training gives; at most
    the logarithm of the number of pictures.

    Args:
        targets: (N, K), each a distribution over prototypes.
    """

    def entropy(distribution: Tensor) -> Tensor:
        return torch.special.entr(distribution).sum(-1)

    return entropy(targets.mean(0)) - entropy(targets).mean()


def cosine_between(start: float, end: float, step: int, steps: int) -> float:
    """Returns the value of a half cosine from `start` (step 0) to `end` (step `steps`)."""
    done = min(step / steps, 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


class PrototypeHead(nn.Module):
    """Projects class tokens on prototypes of unit length.

    Three linear layers with GELU, a unit vector, and a layer whose weights are normalised.

    Args:
        width: of the class token.
        prototypes: K, number of outputs.
        hidden: width of the hidden layers.
        bottleneck: width before the prototypes.

    Source: DINO (arXiv 2104.14294) section 3.1, "Network architecture".
    """

    def __init__(
        self, width: int, prototypes: int = 2048, hidden: int = 512, bottleneck: int = 128
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.normal_(self.prototypes, std=bottleneck**-0.5)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, class_tokens: Tensor, frozen: bool = False) -> Tensor:
        """Returns cosines with the prototypes.

        Args:
            class_tokens: (B, width).
            frozen: gives the prototypes no gradient.

        Returns:
            (B, K) in [-1, 1].
        """
        prototypes = self.prototypes.detach() if frozen else self.prototypes
        # 1e-6 keeps float16 finite, as in the published code's half precision training.
        point = F.normalize(self.mlp(class_tokens), dim=-1, eps=1e-6)
        return point @ F.normalize(prototypes, dim=-1).T


@MODELS.register_module()
class SelfDistillation(BaseModel):
    """DINO for mmengine's Runner: student, teacher, centring and schedules.

    The student learns to predict, from any crop of a picture, what the teacher says to another
    one. The teacher is the exponential moving average of the student. All schedules follow the
    buffer ``step``, the number of updates done, so a resumed training goes on exactly.

    The weights worth keeping are ``teacher.backbone``.

    Args:
        vit: arguments of timm's ``VisionTransformer``.
        iterations: updates in the whole training; the teacher's momentum ends at 1 there.
        head: arguments of :class:`PrototypeHead` but the width.
        momentum: of the teacher at the start; rises to 1 along a cosine.
        student_temperature: divides the student's cosines.
        teacher_temperature: at the start and after the warm-up.
        warm_up: updates in which the teacher's temperature rises linearly.
        balance: what keeps all pictures from getting the same target: 'center', DINO's choice,
            takes off a running mean of the teacher's outputs; 'sinkhorn' spreads each batch evenly
            over the prototypes, which also holds in short trainings with small batches.
        center_momentum: of the running mean of the teacher's outputs.
        frozen_prototypes: updates before the prototypes learn.
        mean: pixel mean, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.

    Raises:
        UserError: `iterations` below 1, or an unknown `balance`.

    Source: DINO (arXiv 2104.14294) section 3.1, algorithm 1.
    """

    def __init__(
        self,
        vit: Mapping[str, Any],
        iterations: int,
        head: Mapping[str, Any] | None = None,
        momentum: float = 0.996,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warm_up: int = 0,
        balance: Literal['center', 'sinkhorn'] = 'center',
        center_momentum: float = 0.9,
        frozen_prototypes: int = 0,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        if iterations < 1:
            raise UserError(f'model.iterations must be above 0, got {iterations}')
        if balance not in ('center', 'sinkhorn'):
            raise UserError(
                f"model.balance must be 'center' or 'sinkhorn', got '{balance}'."
                f'{nearest(balance, ("center", "sinkhorn"))}'
            )
        self.architecture = deepcopy(dict(vit))
        backbone = VisionTransformer(**self.architecture)
        projector = PrototypeHead(backbone.embed_dim, **(head or {}))
        self.student = nn.ModuleDict({'backbone': backbone, 'head': projector})
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.iterations = iterations
        self.momentum = momentum
        self.student_temperature = student_temperature
        self.teacher_temperature = tuple(teacher_temperature)
        self.warm_up = warm_up
        self.balance = balance
        self.center_momentum = center_momentum
        self.frozen_prototypes = frozen_prototypes
        self.register_buffer('center', torch.zeros(len(projector.prototypes)))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        for name, value in (('mean', mean), ('std', std)):
            shaped = torch.tensor(value, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, shaped, persistent=False)

    def forward(
        self,
        global_crops: Sequence[Tensor] | Tensor,
        local_crops: Sequence[Tensor] | Tensor,
        mode: str = 'loss',
    ) -> dict[str, Tensor]:
        """Returns the loss.

        Args:
            global_crops: B times (G, 3, H, W) uint8 RGB, or one tensor of them.
            local_crops: B times (n, 3, h, w), likewise.
            mode: 'loss' only.

        Returns:
            ``loss`` and, for the log, ``information`` of the teacher's targets.
        """
        if mode != 'loss':
            raise ValueError(f"SelfDistillation has the mode 'loss' only, got '{mode}'")
        broad, narrow = self._pixels(global_crops), self._pixels(local_crops)
        frozen = int(self.step) < self.frozen_prototypes
        student = torch.cat(
            [self._logits(self.student, crops, frozen=frozen) for crops in (broad, narrow)]
        )
        with torch.no_grad():
            targets = self._targets(self._logits(self.teacher, broad))
        loss = distillation_loss(student / self.student_temperature, targets)
        return {'loss': loss, 'information': information(targets.flatten(0, 1))}

    def train_step(
        self, data: dict[str, Any] | tuple | list, optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        """Updates the student by its gradient, then the teacher by the student."""
        logged = super().train_step(data, optim_wrapper)
        self.update_teacher()
        return logged

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Moves the teacher towards the student and counts the update."""
        momentum = cosine_between(self.momentum, 1.0, int(self.step), self.iterations)
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - momentum)
        self.step += 1

    def _targets(self, outputs: Tensor) -> Tensor:
        """Distributions (G, B, K); moves the centre if it is used."""
        temperature = self._temperature()
        if self.balance == 'sinkhorn':
            targets = sinkhorn(outputs.flatten(0, 1) / temperature)
            return targets.unflatten(0, outputs.shape[:2])
        targets = ((outputs - self.center) / temperature).softmax(-1)
        self.center.lerp_(outputs.mean((0, 1)), 1 - self.center_momentum)
        return targets

    def _temperature(self) -> float:
        start, end = self.teacher_temperature
        return (
            end
            if not self.warm_up
            else start + (end - start) * min(int(self.step) / self.warm_up, 1.0)
        )

    def _pixels(self, crops: Sequence[Tensor] | Tensor) -> Tensor:
        """(V, B, 3, H, W), normalised."""
        stacked = crops if isinstance(crops, Tensor) else torch.stack(list(crops))
        scaled = stacked.to(self.mean.device).transpose(0, 1).float() / 255
        return (scaled - self.mean) / self.std

    @staticmethod
    def _logits(network: nn.ModuleDict, crops: Tensor, **head: bool) -> Tensor:
        """(V, B, K) of (V, B, 3, H, W)."""
        outputs = network['head'](network['backbone'](crops.flatten(0, 1)), **head)
        return outputs.unflatten(0, crops.shape[:2])
