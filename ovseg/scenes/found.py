"""Trains FOUND's head as FOUND is trained: foreground is what background is not, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.tiny_dino import FoundDecoder, build_tiny_dino
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.weight_files import WEIGHTS


def last_queries_and_keys(vit: VisionTransformer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns queries and keys of the last block, each (B, heads, 1 + N, D / heads).

    Args:
        vit: timm's vision transformer with a class token.
        pixels: (B, 3, H, W), normalised; H and W multiples of the patch size.
    """
    seen: list[Tensor] = []
    attention = cast('Attention', vit.blocks[-1].attn)  # of every block of DINO
    hook = attention.qkv.register_forward_hook(lambda _, inputs, output: seen.append(output))
    try:
        vit.forward_features(pixels)
    finally:
        hook.remove()
    parts = seen[0].unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1]


def class_attention(queries: Tensor, keys: Tensor) -> Tensor:
    """Returns the attention of the class token to the patches, (B, heads, N).

    Args:
        queries: (B, heads, 1 + N, d), class token first.
        keys: likewise.
    """
    scores = queries[:, :, :1] @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
    return scores.softmax(-1)[:, :, 0, 1:]


def head_weights(attention: Tensor) -> Tensor:
    """Returns the weights of heads (B, heads): the sparser a head's attention, the larger.

    Args:
        attention: of the class token to the patches, (B, heads, N).

    Source: FOUND (arXiv 2212.07834), "Background discovery"; its public code for the 1e-10.
    """
    threshold = attention.mean((1, 2), keepdim=True)
    busy = (attention > threshold).float().mean(2)
    return ((busy + 1e-10).sum(1, keepdim=True) / (busy + 1e-10)).log()


def background_mask(
    queries: Tensor,
    keys: Tensor,
    tau: float = 0.3,
    cover: float = 0.0,
    by_region: bool = False,
) -> Tensor:
    """Returns FOUND's coarse background: patches like the one that is looked at least.

    FOUND takes one seed and one background. Where several materials make up the background, one
    seed finds one of them; with `cover` further seeds follow among the patches that are left. The
    least attended patch may also lie in a flat part of an object; `by_region` ranks a patch by
    all patches like it instead, the more of them and the less attended, the sooner it is a seed.

    Args:
        queries: (B, heads, 1 + N, d) of the last block, class token first.
        keys: likewise.
        tau: patches with a larger cosine to a seed are background.
        cover: seeds are added until this share of the patches is background; 0 for one seed.
        by_region: ranks seeds by the mean attention of the patches like them, divided by their
            number, instead of by their own attention.

    Returns:
        (B, N) bool.

    Source: FOUND (arXiv 2212.07834), "Background discovery".
    """
    attention = class_attention(queries, keys)
    weights = head_weights(attention)
    looked_at = (attention * weights[:, :, None]).sum(1)
    weighted = keys[:, :, 1:] * weights[:, :, None, None]
    patches = F.normalize(weighted.transpose(1, 2).flatten(2), dim=-1)
    alike = patches @ patches.transpose(1, 2) > tau
    if by_region:
        count = alike.sum(2)
        looked_at = (alike.float() @ looked_at[:, :, None])[:, :, 0] / count**2
    mask = torch.zeros_like(looked_at, dtype=torch.bool)
    for image, rows in enumerate(alike):
        while True:
            seed = looked_at[image].masked_fill(mask[image], torch.inf).argmin()
            mask[image] |= rows[seed]
            mask[image, seed] = True  # also where rounding puts its cosine to itself below tau
            if mask[image].float().mean() >= cover:
                break
    return mask


def found_loss(
    logits: Tensor, coarse: Tensor, learn_coarse: bool, weights: tuple[float, float]
) -> Tensor:
    """Returns FOUND's loss without the bilateral solver.

    Both stages hold the prediction to its own binarised self; the first also to the coarse mask.
    FOUND smooths the binarised prediction along image edges with a bilateral solver in one of its
    terms; on grids of 8-pixel patches of these scenes that solver has nothing to follow, so the
    term stays with the prediction itself.

    Args:
        logits: (B, N), positive for foreground.
        coarse: (B, N) bool, foreground of the coarse mask.
        learn_coarse: first stage.
        weights: of the prediction's own mask in the first and in the second stage.

    Source: FOUND (arXiv 2212.07834), "Refining masks with self-training"; its public code.
    """
    own = (logits.detach() > 0).to(logits.dtype)
    first, second = weights
    itself = F.binary_cross_entropy_with_logits(logits, own)
    if not learn_coarse:
        return second * itself
    return first * itself + F.binary_cross_entropy_with_logits(logits, coarse.to(logits.dtype))


class _Discovery(TypedDict):
    tau: float
    cover: float
    by_region: bool


@MODELS.register_module()
class FoundTraining(BaseModel):
    """FOUND's head on a frozen embedded DINO, for mmengine's Runner.

    The head is ``self.found``. The stage follows the buffer ``step``, so a resumed training goes
    on exactly.

    Args:
        dino: name of an embedded DINO.
        folder: where it lies; None for the package's own.
        tau: see :func:`background_mask`.
        cover: likewise.
        by_region: likewise.
        coarse_steps: updates in which the coarse mask is learnt.
        own_weights: see :func:`found_loss`; FOUND's are 1.5 and, in the second stage, 1.5 + 4.

    Raises:
        UserError: no such DINO, or `cover` outside [0, 1].
    """

    def __init__(
        self,
        dino: str = 'tiny_dino_scenes',
        folder: str | None = None,
        tau: float = 0.3,
        cover: float = 0.0,
        by_region: bool = False,
        coarse_steps: int = 100,
        own_weights: tuple[float, float] = (1.5, 5.5),
    ) -> None:
        super().__init__()
        self.dino_name = dino
        self.dino, mean, std = build_tiny_dino(dino, folder or WEIGHTS)
        self.found = FoundDecoder(self.dino.embed_dim)
        if not 0 <= cover <= 1:
            raise UserError(f'model.cover must be between 0 and 1, got {cover}')
        self.discovery: _Discovery = {'tau': tau, 'cover': cover, 'by_region': by_region}
        self.coarse_steps = coarse_steps
        self.own_weights = (own_weights[0], own_weights[1])
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        for name, value in (('mean', mean), ('std', std)):
            shaped = torch.tensor(value, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, shaped, persistent=False)

    def forward(self, inputs: Sequence[Tensor] | Tensor, mode: str = 'loss') -> dict[str, Tensor]:
        """Returns the loss.

        Args:
            inputs: B images (3, H, W) uint8 RGB, or one tensor of them.
            mode: 'loss' only.

        Returns:
            ``loss`` and, for the log, the shares of foreground in the prediction (``foreground``)
            and in the coarse mask (``coarse``).
        """
        if mode != 'loss':
            raise ValueError(f"FoundTraining has the mode 'loss' only, got '{mode}'")
        images = inputs if isinstance(inputs, Tensor) else torch.stack(list(inputs))
        height, width = images.shape[-2:]
        size = self.dino.patch_embed.patch_size[0]
        if height % size or width % size:
            raise UserError(
                f'images of {height} x {width} pixels do not divide into patches of {size}: '
                'change train_dataloader.dataset.size'
            )
        with torch.no_grad():
            pixels = (images.to(self.mean.device).float() / 255 - self.mean) / self.std
            queries, keys = last_queries_and_keys(self.dino, pixels)
            coarse = ~background_mask(queries, keys, **self.discovery)
            grid = keys[:, :, 1:].transpose(2, 3).flatten(1, 2)
            grid = grid.unflatten(2, (height // size, width // size))
        logits = self.found(grid).flatten(1)
        first_stage = int(self.step) < self.coarse_steps
        loss = found_loss(logits, coarse, first_stage, self.own_weights)
        return {
            'loss': loss,
            'foreground': (logits.detach() > 0).float().mean(),
            'coarse': coarse.float().mean(),
        }

    def train_step(
        self, data: dict | tuple | list, optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        """Updates the head and counts the update."""
        logged = super().train_step(data, optim_wrapper)
        self.step += 1
        return logged

    def init_weights(self) -> None:
        """Keeps the weights that were read; mmengine would draw timm's anew."""

    def train(self, mode: bool = True) -> FoundTraining:
        """Leaves DINO in evaluation mode."""
        super().train(mode)
        self.dino.eval()
        return self
