"""Pixel-text matching: text embeddings that the image adapts, and their score map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.text_aligned import TextAlignedFeatures
from ovseg.errors import UserError
from ovseg.registry import build_part
from ovseg.text.fingerprint import version_of
from ovseg.vocabulary import Vocabulary, build_vocabulary

Prompting = Literal['post', 'pre']

# Start and end of a sentence.
_ENDS = 2
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


class PixelTextMatching:
    """Mixin for segmentors and detectors: DenseCLIP's text side, under its published names.

    The parameters ``contexts`` and ``gamma`` and the modules ``text_encoder`` and
    ``context_decoder`` lie at the model's root. The text tower runs once a step, whatever the batch
    is; without gradients its result is kept until a weight changes. A model that was exported
    without its text tower holds that result, (K, D), as the buffer ``text_embeddings``.

    Source: DenseCLIP (arXiv 2112.01518).
    """

    contexts: nn.Parameter
    gamma: nn.Parameter
    tokens: Tensor
    text_embeddings: Tensor
    text_encoder: nn.Module | None
    context_decoder: nn.Module

    def init_matching(
        self,
        *,
        text_encoder: Mapping[str, Any] | None,
        context_decoder: Mapping[str, Any],
        vocabulary: Vocabulary | Any,
        context_length: int = 5,
        tau: float = 0.07,
        token_embed_dim: int = 512,
        text_dim: int = 1024,
        prompting: Prompting = 'post',
        freeze_text_encoder: bool = True,
    ) -> None:
        """Makes the parameters and modules; to be called by the constructor, after nn.Module's.

        Args:
            text_encoder: config of a ``CLIPTextContextEncoder``; None for an exported model.
            context_decoder: config of a ``ContextDecoder``.
            vocabulary: the classes; the first prompt of each is shown to CLIP, as it is.
            context_length: N1, tokens of a name with start and end. The text tower's other
                positions, N2, are learned contexts.
            tau: temperature of the score map where it is trained.
            token_embed_dim: W, width of the text tower.
            text_dim: D of the text space.
            prompting: ``'post'``: what the context decoder makes of the text embeddings and the
                image is added to them. ``'pre'``: what it makes of the contexts and the image
                stands in the contexts' place, so the text tower runs for each image.
            freeze_text_encoder: see :class:`~ovseg.segmentors.DenseCLIP`.

        Raises:
            UserError: settings that do not fit each other, or a name that is too long.
        """
        if prompting not in get_args(Prompting):
            raise UserError(
                f"model.prompting must be one of {list(get_args(Prompting))}, got '{prompting}'"
            )
        self.vocabulary = build_vocabulary(vocabulary)
        self.prompting, self.tau = prompting, tau
        self._kept_text: tuple[tuple, Tensor] | None = None
        decoded = text_dim if prompting == 'post' else token_embed_dim
        given = context_decoder.get('text_dim', decoded)
        if given != decoded:
            raise UserError(
                f'model.context_decoder.text_dim is {given}, but what it decodes has {decoded} '
                'channels; leave it out'
            )
        self.context_decoder = build_part({**context_decoder, 'text_dim': decoded})
        if self.context_decoder.visual_dim != text_dim:
            raise UserError(
                f'model.context_decoder.visual_dim is {self.context_decoder.visual_dim}, but '
                f'model.text_dim is {text_dim}; set both to the text space of the backbone'
            )
        if prompting == 'post':
            self.gamma = nn.Parameter(torch.full((text_dim,), _FIRST_GAMMA))
        names = [_shown(item) for item in self.vocabulary]
        if text_encoder is None:
            self._init_exported(text_dim)
            return
        self.text_encoder = build_part(text_encoder)
        learned = self._check_text_encoder(context_length, token_embed_dim, text_dim)
        tokens = tokenize_names(names, context_length)
        self.register_buffer('tokens', tokens, persistent=False)
        self.contexts = nn.Parameter(torch.empty(1, learned, token_embed_dim))
        nn.init.trunc_normal_(self.contexts)
        if freeze_text_encoder:
            # Not no_grad: the contexts need their gradients through it.
            self.text_encoder.requires_grad_(False)

    def _init_exported(self, text_dim: int) -> None:
        if self.prompting != 'post':
            raise UserError(
                "model.text_encoder is None, but with prompting='pre' the text tower runs for each "
                'image; keep it'
            )
        self.text_encoder = None
        # Not a number until a checkpoint brings them.
        missing = torch.full((len(self.vocabulary), text_dim), float('nan'))
        self.register_buffer('text_embeddings', missing)

    def _check_text_encoder(self, context_length: int, width: int, text_dim: int) -> int:
        encoder = self.text_encoder
        if (encoder.width, encoder.output_dim) != (width, text_dim):
            raise UserError(
                f'model.text_encoder has width {encoder.width} and embed_dim {encoder.output_dim}, '
                f'but model.token_embed_dim is {width} and model.text_dim {text_dim}'
            )
        learned = encoder.context_length - context_length
        if learned < 1:
            raise UserError(
                f'model.text_encoder.context_length={encoder.context_length} leaves no learned '
                f'context beside model.context_length={context_length} tokens of a name'
            )
        return learned

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
        state = self._text_state()
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

    def _text_state(self) -> tuple:
        """Changes with any weight, its place or its precision."""
        weights = [self.contexts, *self.text_encoder.parameters()]
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
        if self.prompting == 'pre':
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
        if self.prompting != 'post':
            raise UserError("a model with prompting='pre' needs its text tower: it stays as it is")
        state = {
            name: value
            for name, value in self.state_dict().items()
            if name != 'contexts' and not name.startswith('text_encoder.')
        }
        return {**state, 'text_embeddings': self.embed_text()[0]}


def score_map(dense: Tensor, text: Tensor) -> Tensor:
    """Cosines of each position and each name.

    Args:
        dense: (B, D, h, w).
        text: (B, K, D).

    Returns:
        (B, K, h, w), in single precision at least.

    Example:
        >>> score_map(torch.ones(1, 4, 2, 3), torch.ones(1, 5, 4)).shape
        torch.Size([1, 5, 2, 3])
    """
    with torch.autocast(dense.device.type, enabled=False):
        # Half precision rounds the smallest norm to 0, and cosines by more than tau forgives.
        dense, text = F.normalize(_single(dense), dim=1), F.normalize(_single(text), dim=2)
        return torch.einsum('bchw,bkc->bkhw', dense, text)


def _single(values: Tensor) -> Tensor:
    return values.float() if values.dtype.itemsize < torch.float32.itemsize else values


def join_score_map(levels: Sequence[Tensor], scores: Tensor, index: int) -> list[Tensor]:
    """A feature pyramid with a score map concatenated to the channels of one level.

    Args:
        levels: (B, C_i, h_i, w_i) each.
        scores: (B, K, h, w).
        index: of the level; its grid is that of the scores.

    Raises:
        UserError: there is no such level, or its grid is another one.
    """
    grids = [tuple(level.shape[2:]) for level in levels]
    if not 0 <= index < len(levels) or grids[index] != tuple(scores.shape[2:]):
        fitting = [number for number, grid in enumerate(grids) if grid == tuple(scores.shape[2:])]
        raise UserError(
            f'model.score_concat_index={index}, but the score map has a grid of '
            f'{tuple(scores.shape[2:])} and the levels {grids}; set it to '
            f'{fitting[0] if fitting else "a level of that grid"}'
        )
    joined = list(levels)
    joined[index] = torch.cat([joined[index], scores.to(joined[index].dtype)], dim=1)
    return joined


def check_neck_widths(
    neck: nn.Module, levels: Sequence[Tensor], index: int, num_classes: int
) -> None:
    """Stops before a neck whose configured widths are not those of the levels.

    Args:
        neck: one of mmseg or mmdet.
        levels: (B, C_i, h_i, w_i) each, with the score map.
        index: of the level that the score map was joined to.
        num_classes: channels of the score map.

    Raises:
        UserError: the widths differ.
    """
    wanted = getattr(neck, 'in_channels', None)
    widths = [level.shape[1] for level in levels]
    if wanted is not None and list(wanted) != widths:
        raise UserError(
            f'model.neck.in_channels is {list(wanted)}, but the levels have {widths} channels: '
            f'level {index} counts one for each of the {num_classes} classes'
        )


def tokenize_names(names: Sequence[str], context_length: int) -> Tensor:
    """Tokens of bare names, (K, N1) int64: start, name, end, zeros.

    Args:
        names: one a class.
        context_length: N1.

    Raises:
        UserError: a name has more tokens than fit.

    Example:
        >>> tokenize_names(['wall'], 5).tolist()
        [[49406, 2569, 49407, 0, 0]]
    """
    tokenizer = open_clip.SimpleTokenizer()
    for name in names:
        needed = len(tokenizer.encode(name)) + _ENDS
        if needed > context_length:
            raise UserError(
                f"the class '{name}' has {needed} tokens, start and end included, but "
                f'model.context_length is {context_length}: raise it, and '
                'model.text_encoder.context_length with it, or shorten the name'
            )
    return tokenizer(list(names), context_length=context_length)


def _shown(item: Any) -> str:
    if not item.prompts:
        raise UserError(
            f"the class '{item.name}' of model.vocabulary has no words to show to CLIP; leave "
            'backgrounds without words out'
        )
    return item.prompts[0]
