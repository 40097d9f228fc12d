"""Trains a CLIP model as CLIP or SigLIP is: by images and their captions, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import log
from typing import Any, Literal

import open_clip
import torch
from mmengine.model import BaseModel
from open_clip import CustomTextCLIP
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.tiny import TOKENS, build_tiny_clip
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.scenes.siglip_start import start_at_clip
from ovseg.scenes.text_start import start_at_text
from ovseg.training.losses.contrastive import contrastive_loss
from ovseg.training.losses.sigmoid_pairs import sigmoid_pair_loss

# Inverse temperature (its logarithm) and bias that SigLIP starts with (arXiv 2303.15343,
# section 3.2): at first almost no pair seems to belong together, as is true of almost all.
SIGLIP_START = {'init_logit_scale': log(10), 'init_logit_bias': -10.0}


def token_ids_of(words: str, tokenizer: open_clip.SimpleTokenizer) -> Tensor:
    """Returns the sorted token ids that captions of these words can contain.

    Args:
        words: the words, separated by blanks.
        tokenizer: the tokenizer of the text tower; padding, start and end token are added.
    """
    ids = {0, tokenizer.sot_token_id, tokenizer.eot_token_id}
    for word in words.split():
        ids.update(tokenizer.encode(word))
    return torch.tensor(sorted(ids))


def rows_of_tokens(tokens: Tensor, token_ids: Tensor, texts: Sequence[str]) -> Tensor:
    """Returns where each token stands among those of the words that a training knows.

    Args:
        tokens: (B, L) of the tokenizer.
        token_ids: sorted ids of :func:`token_ids_of`; so the end token stays the largest, by which
            CLIP finds it.
        texts: B strings, for the message.

    Raises:
        UserError: a text has another word.
    """
    rows = torch.searchsorted(token_ids, tokens)
    rows.clamp_(max=len(token_ids) - 1)
    strange = (token_ids[rows] != tokens).any(1)
    if strange.any():
        text = texts[int(strange.nonzero()[0])]
        raise UserError(f"caption '{text}' has a word that model.words does not list")
    return rows


@MODELS.register_module()
class CLIPContrast(BaseModel):
    """open_clip's CLIP with its loss, for mmengine's Runner.

    The trained CLIP is ``self.clip``; its parameters carry the prefix ``clip.`` in checkpoints.

    Args:
        clip: an open_clip model config: ``embed_dim``, ``vision_cfg``, ``text_cfg``.
        words: every word that captions use, or None for any. With them the token embedding holds
            only their rows while training (``text_cfg['vocab_size']`` stays what it is for users):
            the optimizer need not walk through 49408 rows for a few dozen words.
        mean: pixel mean, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        max_logit_scale: the inverse temperature is kept at or below this; CLIP's is 100.
        bfloat16: runs both towers in bfloat16 autocast (parameters, norms and the loss stay in
            float32); faster on processors that have bfloat16 instructions and on GPUs.
        loss: 'softmax' is CLIP's, 'sigmoid' is SigLIP's, which has a bias beside the temperature
            and starts both as the paper does unless `clip` says otherwise.
        start: an embedded CLIP whose weights training starts with: a model with ``custom_text``
            takes all of them, see :func:`~ovseg.scenes.siglip_start.start_at_clip`, another one the
            text tower, see :func:`~ovseg.scenes.text_start.start_at_text`. None starts at random.
        text_learns: False leaves the text tower as it starts, and only pictures are learnt.
        channels_last: the vision tower's convolutions have their channels last in memory, which
            takes a quarter less time with the tiny ConvNeXt on a CPU.

    Raises:
        UserError: `clip` lacks a field, `loss` is another word, or a text tower would stay as it is
            at random.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        words: str | None = None,
        mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN,
        std: Sequence[float] = open_clip.OPENAI_DATASET_STD,
        max_logit_scale: float = 100.0,
        bfloat16: bool = False,
        loss: Literal['softmax', 'sigmoid'] = 'softmax',
        start: str | None = None,
        text_learns: bool = True,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if loss not in ('softmax', 'sigmoid'):
            raise UserError(f"model.loss of CLIPContrast is 'softmax' or 'sigmoid', got '{loss}'")
        missing = {'embed_dim', 'vision_cfg', 'text_cfg'} - set(clip)
        if missing:
            raise UserError(f'model.clip of CLIPContrast lacks {", ".join(sorted(missing))}')
        if not text_learns and start is None:
            raise UserError(
                'model.text_learns=False of CLIPContrast keeps a text tower that knows words: name '
                "it in model.start, such as 'tiny_clip_scenes'"
            )
        self.loss, self.start = loss, start
        self.architecture = {**(SIGLIP_START if loss == 'sigmoid' else {}), **deepcopy(dict(clip))}
        self.tokenizer = open_clip.SimpleTokenizer(
            context_length=clip['text_cfg'].get('context_length', 77)
        )
        self.token_ids = None if words is None else token_ids_of(words, self.tokenizer)
        small = deepcopy(self.architecture)
        if self.token_ids is not None:
            small['text_cfg']['vocab_size'] = len(self.token_ids)
        self.clip = build_architecture(small)
        if not text_learns:
            for name, parameter in self.clip.named_parameters():
                parameter.requires_grad_(name.startswith('visual.') or name == 'logit_scale')
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        visual: Any = self.clip.visual
        visual.to(memory_format=self.memory_format)
        self.max_logit_scale = max_logit_scale
        self.bfloat16 = bfloat16
        for name, value in (('mean', mean), ('std', std)):
            shaped = torch.tensor(value, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, shaped, persistent=False)

    @property
    def supervision(self) -> str:
        """What its weights were taught by, for the description of an embedded model."""
        what = 'image-caption pairs of Scenes, no pixel labels'
        if self.start is None:
            return what
        return f'{what}; the images are those after {self.start}, with whose weights it started'

    def init_weights(self) -> None:
        """Takes over the weights that training starts with; the Runner calls this once.

        Raises:
            UserError: `start` names no embedded CLIP, or one of other sizes.
        """
        super().init_weights()
        if self.start is not None:
            clip = build_tiny_clip(self.start)[0]
            if self.token_ids is not None:
                rows = clip.get_parameter(TOKENS)[self.token_ids]
                clip.token_embedding = nn.Embedding.from_pretrained(rows)
            if isinstance(self.clip, CustomTextCLIP):
                start_at_clip(self.clip, clip)
            else:
                start_at_text(self.clip, clip)

    def forward(
        self,
        inputs: Sequence[Tensor] | Tensor,
        caption: Sequence[str],
        meaning: Sequence[int] | Tensor,
        mode: str = 'loss',
    ) -> dict[str, Tensor] | tuple[Tensor, Tensor]:
        """Returns the loss (mode 'loss') or the features of images and captions (mode 'tensor').

        Args:
            inputs: B images (3, H, W) uint8 RGB, or one tensor of them.
            caption: B strings.
            meaning: B numbers, see :func:`contrastive_loss`.
            mode: 'loss' or 'tensor'.

        Returns:
            mode 'loss': ``loss`` and, for the log, ``accuracy``, the share of images that rank a
            caption of theirs first. Mode 'tensor': unit vectors (B, D) of images, of captions.
        """
        images, captions = self._features(inputs, caption)
        if mode == 'tensor':
            return images, captions
        if mode != 'loss':
            raise ValueError(f"CLIPContrast has modes 'loss' and 'tensor', got '{mode}'")
        return self._losses(images, captions, meaning)

    def _losses(
        self, images: Tensor, captions: Tensor, meaning: Sequence[int] | Tensor
    ) -> dict[str, Tensor]:
        """What the mode 'loss' returns, of unit vectors (B, D) of images and of captions."""
        meaning = torch.as_tensor(meaning, device=images.device)
        scale = self.clip.logit_scale.clamp(max=torch.tensor(self.max_logit_scale).log().item())
        if self.loss == 'sigmoid':
            bias = self.clip.logit_bias
            loss = sigmoid_pair_loss(images, captions, scale.exp(), bias, meaning)
        else:
            loss = contrastive_loss(images, captions, scale.exp(), meaning)
        best = (images @ captions.T).argmax(1)
        accuracy = (meaning[best] == meaning).float().mean()
        return {'loss': loss, 'accuracy': accuracy.detach()}

    def _features(
        self, inputs: Sequence[Tensor] | Tensor, caption: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        images = self._pixels(inputs)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
            features = self.clip.encode_image(images)
        return F.normalize(features.float(), dim=-1), self._of_captions(caption)

    def _pixels(self, inputs: Sequence[Tensor] | Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised."""
        images = inputs if isinstance(inputs, Tensor) else torch.stack(list(inputs))
        images = (images.to(self.mean.device).float() / 255 - self.mean) / self.std
        return images.contiguous(memory_format=self.memory_format)

    def _of_captions(self, caption: Sequence[str]) -> Tensor:
        """Unit vectors (B, D) of captions."""
        tokens = self._tokens(caption).to(self.mean.device)
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bfloat16):
            features = self.clip.encode_text(tokens)
        return F.normalize(features.float(), dim=-1)

    def _tokens(self, caption: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(caption))
        if self.token_ids is None:
            return tokens
        return rows_of_tokens(tokens, self.token_ids, caption)
