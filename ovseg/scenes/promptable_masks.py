"""Trains a SAM as SAM is trained: prompts, masks, and corrections of the model's own errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.encoders.sam_encoder import GlobalAttention
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.training.losses.mask_losses import attention_outside, dice_loss, focal_loss, mask_iou
from ovseg.training.mask_prompts import (
    Prompts,
    boxes_around,
    coarse_prompts,
    error_points,
    noised_boxes,
    random_points,
)

FIRST = ('point', 'box', 'coarse')
FOCAL, DICE = 20.0, 1.0


def resized_positions(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns a state dict whose positions in the image encoder fit a frame of another size.

    Absolute positions are interpolated bicubically, relative ones linearly, both with
    ``align_corners=False``. Everything else is passed as it is.

    Args:
        state: of a SAM in a training, or of a SAM alone.
        wanted: state dict of the model that it is for; only shapes are read.
    """
    fitted = dict(state)
    for name, value in state.items():
        target = wanted.get(name)
        if target is None or value.shape == target.shape:
            continue
        if name.endswith('.pos_embed'):
            grid = value.permute(0, 3, 1, 2)
            size = tuple(target.shape[1:3])
            grid = F.interpolate(grid, size, mode='bicubic', align_corners=False)
            fitted[name] = grid.permute(0, 2, 3, 1)
        elif name.endswith(('.rel_pos_h', '.rel_pos_w')):
            line = value.T[None]
            line = F.interpolate(line, len(target), mode='linear', align_corners=False)
            fitted[name] = line[0].T.contiguous()
    return fitted


@MODELS.register_module()
class PromptableMasks(BaseModel):
    """SAM for mmengine's Runner: an interactive session of a few rounds with every mask.

    All masks of a picture share its embedding and the kind of their first prompt: a random point,
    a noised box, or what a coarse segmentation asks for (box, point, weak mask prompt). In each
    later round a point from where the last prediction was wrong is added, and the mask prompt is
    the last prediction's logits. A single point, and a single box, may mean several things: three
    masks are predicted and the best learns. With more prompts, and with a box, the mask for
    unambiguous prompts learns. The gradient of a round does not reach the round before.

    The weights worth keeping are ``sam``.

    Args:
        sam: arguments of :func:`~ovseg.encoders.sam_architecture.build_sam_architecture`.
        rounds: number of predictions for each mask.
        first: relative frequency of 'point', 'box' and 'coarse' as the first prompt.
        bfloat16: runs the image encoder in bfloat16 autocast; parameters stay in float32.
        attention_weight: weight of
            :func:`~ovseg.training.losses.mask_losses.attention_outside`, not below 0. Large SAMs
            learn by themselves to attend within an object in their last block, which Trident relies
            on; one of six blocks does not, and has to be told.

    Raises:
        UserError: no rounds, frequencies that are none, or a negative weight.

    Source: Segment Anything (arXiv 2304.02643) appendix A, "Training algorithm" and "Losses".
    """

    def __init__(
        self,
        sam: Mapping[str, Any],
        rounds: int = 3,
        first: Sequence[float] = (0.35, 0.25, 0.4),
        bfloat16: bool = False,
        attention_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if attention_weight < 0:
            raise UserError(f'model.attention_weight must not be below 0, got {attention_weight}')
        if rounds < 1:
            raise UserError(f'model.rounds must be above 0, got {rounds}')
        if len(first) != len(FIRST) or min(first) < 0 or not sum(first):
            raise UserError(
                f'model.first must be {len(FIRST)} frequencies, of {", ".join(FIRST)}, '
                f'none below 0 and not all 0, got {list(first)}'
            )
        self.architecture = dict(sam)
        self.sam = build_sam_architecture(sam)
        self.rounds = rounds
        self.first = tuple(first)
        self.bfloat16 = bfloat16
        self.attention_weight = attention_weight

    def forward(
        self,
        inputs: Sequence[Tensor] | Tensor,
        masks: Sequence[Tensor] | Tensor,
        mode: str = 'loss',
    ) -> dict[str, Tensor]:
        """Returns the losses.

        Args:
            inputs: B times (3, h, w) uint8 RGB, not larger than the frame.
            masks: B times (M, 4g, 4g) bool, g the patch grid's side; none of them empty.
            mode: 'loss' only.

        Returns:
            ``loss_focal``, ``loss_dice``, ``loss_iou``, means over masks and rounds, with
            ``attention_weight`` also ``loss_attention``, and for the log ``iou_first`` and
            ``iou_last``, the true IoU after the first and the last round.
        """
        if mode != 'loss':
            raise ValueError(f"PromptableMasks has the mode 'loss' only, got '{mode}'")
        device = self.sam.pixel_mean.device
        frames = torch.stack([self.sam.preprocess(image.to(device)) for image in inputs])
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            embeddings, tokens = self._encode(frames)
        losses = {}
        if self.attention_weight:
            losses['loss_attention'] = self.attention_weight * self._outside(tokens, masks)
        frequencies = torch.tensor(self.first, dtype=torch.float32)
        kinds = torch.multinomial(frequencies, len(frames), replacement=True).tolist()
        rounds = [
            self._session(embedding[None].float(), target.to(device), FIRST[kind])
            for embedding, target, kind in zip(embeddings, masks, kinds, strict=True)
        ]
        # (B, rounds, focal, dice, iou loss, iou)
        mean = torch.stack([torch.stack(session) for session in rounds]).mean(0)
        focal, dice, quality, _ = mean.mean(0)
        return {
            **losses,
            'loss_focal': FOCAL * focal,
            'loss_dice': DICE * dice,
            'loss_iou': quality,
            'iou_first': mean[0, 3].detach(),
            'iou_last': mean[-1, 3].detach(),
        }

    def _encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings (B, D, g, g), and the tokens that entered the last block (B, g, g, C)."""
        encoder = self.sam.image_encoder
        tokens = encoder.patch_embed(frames) + encoder.pos_embed
        for block in encoder.blocks[:-1]:
            tokens = block(tokens)
        last = encoder.blocks[-1](tokens)
        return encoder.neck(last.permute(0, 3, 1, 2)), tokens

    def _outside(self, tokens: Tensor, masks: Sequence[Tensor] | Tensor) -> Tensor:
        block = self.sam.image_encoder.blocks[-1]
        normed = block.norm1(tokens.float())
        lost = [
            attention_outside(
                GlobalAttention(block.attn, picture[None]).weights(slice(None)),
                F.avg_pool2d(target.to(picture)[:, None], target.shape[-1] // len(picture)),
            )
            for picture, target in zip(normed, masks, strict=True)
        ]
        return torch.stack(lost).mean()

    def predict(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Returns all four masks of SAM's decoder, the one for unambiguous prompts first.

        Args:
            embedding: (1, D, g, g) of one picture.
            prompts: for M masks.

        Returns:
            Logits (M, 4, 4g, 4g) and predicted IoU (M, 4).
        """
        points = None if prompts.points is None else (prompts.points, prompts.labels)
        sparse, dense = self.sam.prompt_encoder(points, prompts.boxes, prompts.masks)
        return self.sam.mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state dict that fits, be it of a training with a frame of another size."""
        return resized_positions(state, self.state_dict())

    def _session(self, embedding: Tensor, target: Tensor, kind: str) -> list[Tensor]:
        """For each round (4,): focal and dice loss, loss of the predicted IoU, true IoU."""
        stride = self.sam.image_encoder.img_size // target.shape[-1]
        prompts = self._first_prompts(target, stride, kind)
        results = []
        for number in range(self.rounds):
            logits, predicted = self.predict(embedding, prompts)
            alone = number == 0 and kind != 'coarse'
            result, chosen = score_masks(
                logits, predicted, target, several=alone, single=not alone or kind == 'box'
            )
            results.append(result)
            if number + 1 < self.rounds:
                points, labels = error_points(chosen[:, 0] > 0, target, stride)
                prompts = prompts.with_points(points, labels, chosen)
        return results

    def _first_prompts(self, target: Tensor, stride: int, kind: str) -> Prompts:
        if kind == 'coarse':
            return coarse_prompts(target, stride)[0]
        if kind == 'point':
            ones = torch.ones(len(target), 1, dtype=torch.long, device=target.device)
            return Prompts(random_points(target, stride)[:, None], ones)
        side = self.sam.image_encoder.img_size
        boxes = noised_boxes(boxes_around(target, stride), 0.1, 0.05 * side, (side, side))
        return Prompts(boxes=boxes)


def score_masks(
    logits: Tensor, predicted: Tensor, target: Tensor, several: bool, single: bool
) -> tuple[Tensor, Tensor]:
    """Returns the losses of one round, and the logits that go on to the next.

    Args:
        logits: (M, 4, H, W); the first is for unambiguous prompts, the others for ambiguous ones.
        predicted: (M, 4), predicted IoU.
        target: (M, H, W) bool.
        several: the three others learn, of these only the one with the smallest loss.
        single: the first one learns.

    Returns:
        (4,): focal loss, dice loss and squared error of the predicted IoU, and true IoU of what
        goes on, means over masks; and logits (M, 1, H, W), without gradient: of the masks that
        learn, the one whose predicted IoU is highest.
    """
    kept = slice(0 if single else 1, 4 if several else 1)
    logits, predicted = logits[:, kept], predicted[:, kept]
    wanted = target[:, None].expand(logits.shape)
    iou = mask_iou(logits.detach() > 0, wanted)
    focal = focal_loss(logits, wanted.float())
    dice = dice_loss(logits, wanted.float())
    weights = torch.zeros_like(focal)
    others = int(single)
    if several:
        total = (FOCAL * focal + DICE * dice).detach()[:, others:]
        weights[:, others:] = F.one_hot(total.argmin(1), total.shape[1]).to(weights)
    if single:
        weights[:, 0] = 1
    weights = weights / weights.sum()
    best = predicted.argmax(1)
    rows = torch.arange(len(logits), device=logits.device)
    result = torch.stack(
        [
            (weights * focal).sum(),
            (weights * dice).sum(),
            F.mse_loss(predicted, iou),
            iou[rows, best].mean(),
        ]
    )
    return result, logits.detach()[rows, best][:, None]
