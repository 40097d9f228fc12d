"""Pixel-text matching: text embeddings that the image adapts, and their score map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.encoders.text_context import ContextTextEncoder, tokenize_names
from ovseg.errors import UserError
from ovseg.registry import build_part
from ovseg.text.fingerprint import version_of
from ovseg.training.heads.matching_settings import MatchingSettings
from ovseg.training.heads.score_map import score_map
from ovseg.vocabulary import (
    Vocabulary,
    VocabularyClass,
    VocabularySource,
    build_vocabulary,
)

if TYPE_CHECKING:
    from ovseg.training.heads.context_decoder import ContextDecoder

# So small that training starts from CLIP's own text embeddings.
_FIRST_GAMMA = 1e-4


@dataclass(frozen=True)
class Matching:
    """How an image batch matches the words.

    Attributes:
        text: (B, K, D), adapted to each image, not normalised.
        score_map: (B, K, h, w), cosines in [-1, 1] on the grid of the dense embedding.
    """

    text: Tensor
    score_map: Tensor


class PixelTextMatching(nn.Module):
    """Mixin for segmentors and detectors: DenseCLIP's text side, under its published names.

    The parameters ``contexts`` and ``gamma`` and the modules ``text_encoder`` and
    ``context_decoder`` lie at the model's root. The text tower runs once a step, whatever the batch
    is; without gradients its result is kept until a weight changes. A model that was exported
    without its text tower holds that result, (K, D), as the buffer ``text_embeddings``.

    Source: DenseCLIP (arXiv 2112.01518).
    """

    matching_settings: MatchingSettings
    matched_vocabulary: Vocabulary
    contexts: nn.Parameter
    gamma: nn.Parameter
    tokens: Tensor
    text_embeddings: Tensor
    text_encoder: ContextTextEncoder | None
    context_decoder: ContextDecoder

    def init_matching(self, settings: MatchingSettings, vocabulary: VocabularySource) -> None:
        """Makes the parameters and modules; to be called by the constructor, after nn.Module's.

        Args:
            settings: of the model.
            vocabulary: the classes; the first prompt of each is shown to CLIP, as it is.

        Raises:
            UserError: settings that do not fit each other, or a name that is too long.
        """
        self.matched_vocabulary = build_vocabulary(vocabulary)
        self.matching_settings = settings
        self._kept_text: tuple[tuple, Tensor] | None = None
        self.context_decoder = build_part(
            {**settings.context_decoder, 'text_dim': settings.decoded_dim}
        )
        if self.context_decoder.visual_dim != settings.text_dim:
            raise UserError(
                f'model.context_decoder.visual_dim is {self.context_decoder.visual_dim}, but '
                f'model.text_dim is {settings.text_dim}; set both to the text space of the backbone'
            )
        if settings.prompting == 'post':
            self.gamma = nn.Parameter(torch.full((settings.text_dim,), _FIRST_GAMMA))
        names = [_shown(item) for item in self.matched_vocabulary]
        if settings.text_encoder is None:
            self.text_encoder = None
            # Not a number until a checkpoint brings them.
            missing = torch.full((len(names), settings.text_dim), float('nan'))
            self.register_buffer('text_embeddings', missing)
            return
        encoder = build_part(settings.with_weights(settings.text_encoder))
        self.text_encoder = encoder
        learned = _learned_positions(encoder, settings)
        tokens = tokenize_names(names, settings.context_length)
        self.register_buffer('tokens', tokens, persistent=False)
        self.contexts = nn.Parameter(torch.empty(1, learned, settings.token_embed_dim))
        nn.init.trunc_normal_(self.contexts)
        if settings.freeze_text_encoder:
            # Not no_grad: the contexts need their gradients through it.
            encoder.requires_grad_(False)

    # Text ------------------------------------------------------------------------------------

    def embed_text(self, contexts: Tensor | None = None) -> Tensor:
        """The names in the text space, before an image adapts them.

        Args:
            contexts: (B, N2, W) instead of the learned ones.

        Returns:
            (B, K, D), B = 1 for the learned contexts; not normalised.
        """
        if self.text_encoder is None:
            return self.text_embeddings[None]
        if contexts is not None:
            return self.text_encoder(self.tokens, contexts)
        if torch.is_grad_enabled():
            return self.text_encoder(self.tokens, self.contexts)
        state = self._text_state(self.text_encoder)
        if self._kept_text is None or self._kept_text[0] != state:
            self._kept_text = (state, self.text_encoder(self.tokens, self.contexts))
        return self._kept_text[1]

    def train(self, mode: bool = True) -> Any:
        """Also forgets the kept text: hooks that average weights write them uncounted before."""
        self._kept_text = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # A weight that moved away and back may lie where it lay, with other digits.
        self._kept_text = None
        return super()._apply(fn, recurse)

    def _text_state(self, encoder: ContextTextEncoder) -> tuple:
        """Changes with any weight, its place or its precision."""
        weights = [self.contexts, *encoder.parameters()]
        autocast = torch.is_autocast_enabled(self.contexts.device.type)
        return (
            autocast and torch.get_autocast_dtype(self.contexts.device.type),
            tuple((w.data_ptr(), version_of(w), w.dtype, w.device) for w in weights),
        )

    def visual_memory(self, features: TextAlignedFeatures) -> Tensor:
        """What the context decoder sees of the images: (B, 1 + h*w, D), the global part first."""
        dense = features.dense_embedding.flatten(2).transpose(1, 2)
        return torch.cat([features.global_embedding[:, None], dense], dim=1)

    def adapt_text(self, features: TextAlignedFeatures) -> Tensor:
        """The names in the text space as the images adapt them, (B, K, D), not normalised.

        Args:
            features: of the images.
        """
        memory = self.visual_memory(features)
        if self.matching_settings.prompting == 'pre':
            contexts = self.contexts.expand(len(memory), -1, -1)
            return self.embed_text(self.context_decoder(contexts, memory))
        text = self.embed_text().expand(len(memory), -1, -1)
        return text + self.gamma * self.context_decoder(text, memory)

    def match(self, features: TextAlignedFeatures) -> Matching:
        """Matches each position of the images with each name.

        Args:
            features: of the images.

        Raises:
            UserError: the backbone gave its levels only.
        """
        if not isinstance(features, TextAlignedFeatures):
            raise UserError(
                'model.backbone gives no embeddings in the text space: set get_embeddings=True of '
                'CLIPVisionTransformer, take CLIPResNetWithAttention, or put the backbone into '
                'BackboneWithAttentionPool'
            )
        text = self.adapt_text(features)
        return Matching(text, score_map(features.dense_embedding, text))

    # Export ----------------------------------------------------------------------------------

    @torch.no_grad()
    def state_without_text_encoder(self) -> dict[str, Tensor]:
        """The state dict for a model with ``text_encoder=None``, which gives the same results.

        Raises:
            UserError: the text tower is needed for each image.
        """
        if self.matching_settings.prompting != 'post':
            raise UserError("a model with prompting='pre' needs its text tower: it stays as it is")
        state = {
            name: value
            for name, value in self.state_dict().items()
            if name != 'contexts' and not name.startswith('text_encoder.')
        }
        return {**state, 'text_embeddings': self.embed_text()[0]}


def _learned_positions(encoder: ContextTextEncoder, settings: MatchingSettings) -> int:
    """How many of the text tower's positions are left for contexts."""
    width, text_dim = settings.token_embed_dim, settings.text_dim
    if (encoder.width, encoder.output_dim) != (width, text_dim):
        raise UserError(
            f'model.text_encoder has width {encoder.width} and embed_dim {encoder.output_dim}, '
            f'but model.token_embed_dim is {width} and model.text_dim {text_dim}'
        )
    learned = encoder.context_length - settings.context_length
    if learned < 1:
        raise UserError(
            f'model.text_encoder.context_length={encoder.context_length} leaves no learned context '
            f'beside model.context_length={settings.context_length} tokens of a name'
        )
    return learned


def _shown(item: VocabularyClass) -> str:
    if not item.prompts:
        raise UserError(
            f"the class '{item.name}' of model.vocabulary has no words to show to CLIP; leave "
            'backgrounds without words out'
        )
    return item.prompts[0]
