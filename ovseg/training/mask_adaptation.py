"""Adapts CLIP to masked regions: its image tower, or learned tokens where nothing is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from zlib import crc32

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.adapted_clip import (
    CHECKSUM,
    PROMPTS,
    Adapted,
    AdaptedCLIP,
    frozen_checksum,
)
from ovseg.encoders.clip import load_clip
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.text import TextEncoder
from ovseg.training.gathering import gather_batch
from ovseg.training.losses.contrastive import contrastive_loss
from ovseg.vocabulary.templates import fill_template, get_templates
from ovseg.weight_files import drop_frozen

_PROMPT_STD = 0.02
_LARGEST_SCALE = 100.0


@MODELS.register_module()
class MaskAdaptation(BaseModel):
    """CLIP in training on pairs of a masked region and the noun that names it.

    The text tower is locked. ``'image_tower'`` is OVSeg's fine-tuning: the whole image tower
    learns. ``'mask_prompts'`` is its mask prompt tuning: nothing of CLIP learns, only the tokens
    that replace blank patches. The temperature learns in both;
    :class:`~ovseg.engine.LogitScaleHook` keeps it in bounds after each step. Checkpoints hold what
    learned, and of the rest a checksum.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`.
        train: what learns, see above.
        fine_tuned: file of a fine-tuned CLIP to start from, a checkpoint of this class or one in
            open_clip's format; its image tower and temperature replace those of `clip`. The
            published order is fine-tuning, then prompt tuning from it.
        prompt_depth: blocks that see mask prompts, for ``'mask_prompts'``.
        template: sentence that a noun is put into, such as ``'a photo of a {}.'``; published: none.

    Raises:
        UserError: an unknown `train`, no vision transformer for mask prompts, or weights that do
            not fit.

    Source: OVSeg (arXiv 2210.04150) sections 3.2 and 3.3; initialisation and temperature from its
    open_clip_training.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        train: Adapted,
        fine_tuned: str | Path | None = None,
        prompt_depth: int = 3,
        template: str = '{}',
    ) -> None:
        super().__init__()
        if train not in get_args(Adapted):
            raise UserError(
                f'model.train must be one of {", ".join(get_args(Adapted))}, got {train!r}'
            )
        loaded = load_clip(**clip)
        self.clip = loaded.model
        if train == 'mask_prompts':
            self.clip.visual = MaskPromptedViT(self.clip.visual, prompt_depth)
            nn.init.normal_(self.clip.visual.mask_embedding, std=_PROMPT_STD)
        if fine_tuned is not None:
            self._load_image_tower(fine_tuned)
        self.clip.requires_grad_(False)
        learning = self.clip.visual if train == 'image_tower' else self.clip.visual.mask_embedding
        learning.requires_grad_(True)
        self.clip.logit_scale.requires_grad_(True)
        self.train_part = train
        (self.template,) = get_templates([template])
        # Without a cache on disk: nouns are few, and the memory below holds them.
        self._text = TextEncoder(self.clip, loaded.tokenizer, cache_dir=None)
        self._nouns: dict[str, Tensor] = {}
        for name, value in (('mean', loaded.mean), ('std', loaded.std)):
            shaped = torch.tensor(value, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, shaped, persistent=False)
        self.register_buffer(CHECKSUM, frozen_checksum(self.clip.named_parameters(), train))
        self.register_state_dict_post_hook(_drop_all_but_checksum)

    @property
    def frozen_prefixes(self) -> tuple[str, ...]:
        """Names of what does not learn; of it, checkpoints hold only a checksum.

        A checkpoint so stops where a config puts it on another CLIP than it was trained with.
        """
        frozen = (name for name, value in self.named_parameters() if not value.requires_grad)
        return (*frozen, CHECKSUM)

    def forward(
        self,
        inputs: Sequence[Tensor] | Tensor,
        caption: Sequence[str],
        masks: Sequence[Tensor] | Tensor | None = None,
        mode: str = 'loss',
    ) -> dict[str, Tensor] | tuple[Tensor, Tensor]:
        """Returns the loss (mode 'loss') or the features of regions and nouns (mode 'tensor').

        Args:
            inputs: B regions (3, S, S) uint8 RGB, or one tensor of them.
            caption: B nouns.
            masks: B masks (1, S, S), True where a region is; read when mask prompts learn.
            mode: 'loss' or 'tensor'.

        Returns:
            mode 'loss': ``loss`` over the regions and nouns of all processes, and for the log
            ``accuracy``, the share of them that rank their noun first, and ``temperature``. Mode
            'tensor': unit vectors (B, D) of regions, of nouns.

        Raises:
            UserError: no masks where mask prompts learn.
        """
        regions, nouns = self._region_features(inputs, masks), self._noun_features(caption)
        if mode == 'tensor':
            return regions, nouns
        if mode != 'loss':
            raise ValueError(f"MaskAdaptation has modes 'loss' and 'tensor', got '{mode}'")
        said = torch.tensor([crc32(noun.encode()) for noun in caption], device=regions.device)
        regions, nouns, said = gather_batch(regions), gather_batch(nouns), gather_batch(said)
        # Two regions of one noun are each other's negatives, as published. It is the loss that they
        # would have as positives, too: their nouns' features are equal, and so are their logits.
        meaning = torch.arange(len(said), device=said.device)
        scale = self.clip.logit_scale.exp()
        with torch.autocast(regions.device.type, enabled=False):
            loss = contrastive_loss(regions, nouns, scale, meaning)
            best = (regions @ nouns.T).argmax(1)
        accuracy = (said[best] == said).float().mean()
        return {'loss': loss, 'accuracy': accuracy.detach(), 'temperature': scale.detach()}

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Brings the temperature back into [1, 100], as CLIP does after each step."""
        self.clip.logit_scale.clamp_(0, math.log(_LARGEST_SCALE))

    def to_published(self) -> dict[str, Tensor]:
        """The whole CLIP under OpenAI's names, ``visual.mask_embedding`` with mask prompts."""
        return {name: value.detach().clone() for name, value in self.clip.state_dict().items()}

    def _region_features(
        self, inputs: Sequence[Tensor] | Tensor, masks: Sequence[Tensor] | Tensor | None
    ) -> Tensor:
        images = _stacked(inputs).to(self.mean.device)
        images = (images.float() / 255 - self.mean) / self.std
        if self.train_part == 'image_tower':
            features = self.clip.visual(images)
        elif masks is None:
            raise UserError(
                "model.train='mask_prompts' needs masks, which the data set does not give; set "
                "dataset.mask_from to 'file' or 'colour'"
            )
        else:
            features = self.clip.visual(images, _stacked(masks).to(images.device))
        return F.normalize(features.float(), dim=-1)

    def _noun_features(self, caption: Sequence[str]) -> Tensor:
        # One at a time: rounding must not depend on which other nouns a batch happens to have,
        # or a resumed training would differ from an uninterrupted one.
        for noun in caption:
            if noun not in self._nouns:
                encoded = self._text.encode([fill_template(self.template, noun)])[0]
                self._nouns[noun] = F.normalize(encoded, dim=-1).to(self.mean.device)
        return torch.stack([self._nouns[noun] for noun in caption])

    def _load_image_tower(self, path: str | Path) -> None:
        """Replaces image tower and temperature; the text tower of the file must be the same."""
        given = AdaptedCLIP.read(path)
        if not given.has_tower:
            raise UserError(
                f"model.fine_tuned='{path}' holds no image tower; give a fine-tuned CLIP"
            )
        if given.has_prompts and PROMPTS not in self.clip.state_dict():
            raise UserError(
                f"model.fine_tuned='{path}' has mask prompts, which fine-tuning without masks "
                'would leave behind; give a CLIP without, or none'
            )
        given.put_into(self.clip)


def _drop_all_but_checksum(module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    checksum = state[prefix + CHECKSUM]
    drop_frozen(module, state, prefix, metadata)
    state[prefix + CHECKSUM] = checksum


def _stacked(rows: Sequence[Tensor] | Tensor) -> Tensor:
    return rows if isinstance(rows, Tensor) else torch.stack(list(rows))
