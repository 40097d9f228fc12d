"""Sentences to vectors: the text tower of any open_clip model, with a cache on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from tqdm import tqdm

from ovseg.consoles import is_quiet
from ovseg.errors import UserError, notify
from ovseg.locks import Lock
from ovseg.text.cache import CACHE_FORMAT, EncodingCache, default_cache_dir
from ovseg.text.fingerprint import (
    WeightsIdentity,
    tokenizer_fingerprint,
    weights_identity,
    weights_stamp,
)
from ovseg.text.waiting import WaitingText, width_of

if TYPE_CHECKING:
    from open_clip import CLIP, CustomTextCLIP

    from ovseg.text.causal_tower import CausalTower

_DEFAULT_CONTEXT_LENGTH = 77
_BATCH_SIZE = 256
# An interrupted run of many prompts loses at most this many batches.
_BATCHES_PER_SAVE = 16
_QUOTED_PROMPTS = 3
_QUOTED_LETTERS = 80
# A progress line appears where encoding takes longer.
_QUIET_SECONDS = 1.0


class SentenceEncoder(Protocol):
    """``sentences -> vectors`` in the space of a model's image features."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the text model, the same for the same weights."""
        ...

    @property
    def logit_scale(self) -> float:
        """The factor of cosines before a softmax that the model was trained to."""
        ...

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Un-normalised embeddings (P, D), float32 on the CPU, of sentences."""
        ...


class TextEncoder:
    """Raw text embeddings of a CLIP model, computed once per sentence and model.

    They are those of ``clip.encode_text(tokens, normalize=False)``, so open_clip's CLIP,
    CustomTextCLIP and CoCa all serve. Where the text tower is causal, what follows a sentence's end
    is left out, and what sentences begin with alike is computed once (``text/causal_tower.py``);
    other towers are called as they are. The model is neither copied nor changed nor moved.
    Of a model whose text tower waits in its files (:mod:`ovseg.text.waiting`) it is loaded at the
    first sentence that the cache does not know.

    Threads may share an encoder: one of them encodes, and those that ask for the same sentences
    meanwhile get what it found, if there is a cache.

    Args:
        clip: the model; its text weights decide device and precision of the computation.
        tokenizer: maps a list of strings to int64 tokens (P, context length).
        cache_dir: where encodings are kept; ``'default'`` for ``$OVSEG_CACHE/text`` or
            ``~/.cache/ovseg/text``, None for no cache.
        name: what the model is called; part of ``fingerprint``, not of the cache key.

    Raises:
        TypeError: ``clip`` has no ``encode_text``.
    """

    def __init__(
        self,
        clip: CLIP | CustomTextCLIP,
        tokenizer: Callable[..., Tensor],
        cache_dir: Path | str | Literal['default'] | None = 'default',
        name: str = '',
    ) -> None:
        if not callable(getattr(clip, 'encode_text', None)):
            raise TypeError(f'{type(clip).__name__} has no encode_text, give an open_clip model')
        self._clip = clip
        self._waiting: WaitingText | None = getattr(clip, 'waiting_text', None)
        self._tokenizer = tokenizer
        self.name = name
        self.context_length = _context_length(clip, tokenizer)
        self._cache_dir = default_cache_dir() if cache_dir == 'default' else cache_dir
        self._cache: EncodingCache | None = None
        self._stamp: tuple[tuple[int, int], ...] | None = None
        self._identity: WeightsIdentity | None = None
        self._warned_of: set[str] = set()
        # Of what is remembered here, and of the model while it encodes.
        self._memory_lock, self._model_lock = Lock(), Lock()

    @property
    def fingerprint(self) -> str:
        """Identity of the text model: its name, and a hash of its text weights."""
        return f'{self.name}:{self._current_weights().fingerprint}'

    @property
    def logit_scale(self) -> float:
        """The temperature's inverse that the model was trained to, ``exp(logit_scale)``."""
        logit_scale = getattr(self._clip, 'logit_scale', None)
        if logit_scale is None:
            raise UserError('the text model has no logit_scale, set one in the config')
        return float(logit_scale.detach().float().exp().mean())

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Embed sentences; those that the cache knows are not computed again.

        Args:
            prompts: sentences, used verbatim; repeated ones are computed once.

        Returns:
            Un-normalised embeddings (P, D), float32 on the CPU.

        Raises:
            UserError: the model's weights give NaN or infinity.
        """
        if isinstance(prompts, str):
            raise TypeError('encode takes a list of sentences, got one string')
        if not prompts:
            raise ValueError('encode needs at least one sentence')
        unique = list(dict.fromkeys(prompts))
        self._warn_of_truncation(unique)
        cache = self._open_cache()
        known = cache.get(unique) if cache is not None else {}
        if len(known) < len(unique):
            with self._model_lock:
                # Another thread may have encoded them while this one waited.
                if cache is not None:
                    known.update(cache.get([prompt for prompt in unique if prompt not in known]))
                known.update(self._encode_new([p for p in unique if p not in known], cache))
        return torch.from_numpy(np.stack([known[prompt] for prompt in prompts]))

    def _encode_new(self, new: list[str], cache: EncodingCache | None) -> dict[str, np.ndarray]:
        """Embeddings of sentences that no cache knows; finished parts are kept at once."""
        found = {}
        chunk = _BATCH_SIZE * _BATCHES_PER_SAVE
        # On a terminal only, and only if it takes long enough to wonder.
        with tqdm(
            total=len(new), desc='encoding words', unit='sentence', leave=False,
            disable=is_quiet() or None, delay=_QUIET_SECONDS,
        ) as progress:  # fmt: skip
            for start in range(0, len(new), chunk):
                if len(new) > chunk and progress.disable:
                    print_log(f'encoding text: {start} of {len(new)} prompts', logger='current')
                part = new[start : start + chunk]
                encoded = dict(zip(part, self._compute(part, progress.update), strict=True))
                found.update(encoded)
                if cache is not None:
                    cache.put(encoded)
        return found

    def _compute(self, prompts: Sequence[str], advance: Callable[[int], Any]) -> np.ndarray:
        """Embeddings (P, D), float32, through the model in batches.

        Args:
            prompts: sentences.
            advance: told the size of each batch that is finished.
        """
        clip: Any = self._clip
        if self._waiting is not None:
            clip = self._waiting.tower(clip.logit_scale)
        device = next(_text_parameters(clip)).device
        tokens = self._tokenize(prompts)
        tower = _causal_tower(clip)
        order = list(range(len(prompts))) if tower is None else tower.order(tokens)
        rows: list[np.ndarray | None] = [None] * len(prompts)
        with (
            _evaluating(clip),
            torch.inference_mode(),
            torch.autocast(device.type, enabled=False),
        ):
            for start in range(0, len(order), _BATCH_SIZE):
                batch = order[start : start + _BATCH_SIZE]
                asked = tokens[batch].to(device)
                encoded = (
                    clip.encode_text(asked, normalize=False)
                    if tower is None
                    else tower.encode(asked)
                )
                if encoded.ndim != 2:
                    raise UserError(
                        f'the text model gives {tuple(encoded.shape)} for {len(batch)} sentences, '
                        'not one vector a sentence: set another pool_type in clip.model.text_cfg'
                    )
                for index, vector in zip(batch, encoded.float().cpu().numpy(), strict=True):
                    rows[index] = vector
                advance(len(batch))
        vectors = np.stack(rows)  # type: ignore[arg-type]  # each is in one batch
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise UserError(
                f'the text model gives NaN or infinity for {prompts[int(finite.argmin())]!r}, '
                'its weights are damaged or too large for their precision'
            )
        return vectors

    def _tokenize(self, prompts: Sequence[str], context_length: int | None = None) -> Tensor:
        """Tokens (P, context length); tokenizers that know no such argument have their own."""
        try:
            return self._tokenizer(
                list(prompts), context_length=context_length or self.context_length
            )
        except TypeError:
            return self._tokenizer(list(prompts))

    def _current_weights(self) -> WeightsIdentity:
        with self._memory_lock:
            if self._waiting is not None:
                known = self._waiting.facts(self._clip.logit_scale).identity
                self._cache = self._cache if known == self._identity else None
                self._identity = known
                return known
            stamp = weights_stamp(self._clip)
            if self._identity is None or stamp != self._stamp:
                self._identity = weights_identity(self._clip)
                self._stamp = stamp
                self._cache = None
            return self._identity

    def _open_cache(self) -> EncodingCache | None:
        if self._cache_dir is None:
            return None
        with self._memory_lock:
            weights = self._current_weights()
            if self._cache is None:
                # A tokenizer of the hub may know too few letters for the probes to tell.
                cleaning = getattr(self._tokenizer, 'cleaning', '')
                tokens = tokenizer_fingerprint(self._tokenize, self.context_length, cleaning)
                name = f'{weights.fingerprint}-{tokens}-{CACHE_FORMAT}'
                folder = Path(os.path.expanduser(self._cache_dir)) / name
                self._cache = EncodingCache(folder, weights.secret, self._width())
            return self._cache

    def _width(self) -> int | None:
        """D of the text space, where the model has a projection to it."""
        if self._waiting is not None:
            return self._waiting.facts(self._clip.logit_scale).width
        return width_of(self._clip)

    def _warn_of_truncation(self, prompts: Sequence[str]) -> None:
        """Warn once of each sentence that is longer than the context."""
        # A token covers at least one byte, so most sentences need no look at their tokens.
        suspects = [
            prompt
            for prompt in prompts
            if len(prompt.encode('utf-8', 'replace')) > self.context_length - 3
            and prompt not in self._warned_of
        ]
        cut = self._truncated(suspects) if suspects else []
        with self._memory_lock:
            # Another thread may have warned meanwhile.
            cut = [prompt for prompt in cut if prompt not in self._warned_of]
            self._warned_of.update(cut)
        if cut:
            quoted = ', '.join(_quoted(prompt) for prompt in cut[:_QUOTED_PROMPTS])
            more = f' and {len(cut) - _QUOTED_PROMPTS} more' if len(cut) > _QUOTED_PROMPTS else ''
            notify(
                f'longer than the {self.context_length} tokens of the text model and '
                f'therefore truncated: {quoted}{more}'
            )

    def _truncated(self, prompts: list[str]) -> list[str]:
        """Which of ``prompts`` lose tokens: a longer context then shows other tokens or more.

        Tokenizers that fix their context, or that put a mark at its end, cannot be asked this
        way; a one-letter sentence that changes too tells them apart, and nothing is reported.
        """
        asked = [*prompts, 'a']
        longer = max(4 * self.context_length, 1024)
        short = self._tokenize(asked)
        long = self._tokenize(asked, longer)
        length = short.shape[1]
        padding = long[-1, length:]
        differs = (short != long[:, :length]).any(dim=1) | (long[:, length:] != padding).any(dim=1)
        *changed, unreliable = differs.tolist()
        if unreliable:
            return []
        return [prompt for prompt, is_cut in zip(prompts, changed, strict=True) if is_cut]


def _context_length(clip: CLIP | CustomTextCLIP, tokenizer: Any) -> int:
    """The model's context length; the tokenizer's where the model does not say.

    A tokenizer of the hub has the length of the model's config. A text tower of transformers calls
    its whole table of positions so, of which not all are for words.
    """
    owners = (clip, getattr(clip, 'text', None), tokenizer)
    for owner in reversed(owners) if hasattr(tokenizer, 'cleaning') else owners:
        length = getattr(owner, 'context_length', None)
        if isinstance(length, int) and length > 0:
            return length
    return _DEFAULT_CONTEXT_LENGTH


def _text_parameters(clip: nn.Module) -> Iterator[Tensor]:
    named = clip.named_parameters()
    return (value for name, value in named if not name.startswith('visual.'))


def _causal_tower(clip: nn.Module) -> CausalTower | None:
    """See :func:`~ovseg.text.causal_tower.find_causal_tower`, whose file loads open_clip."""
    from ovseg.text.causal_tower import find_causal_tower

    return find_causal_tower(clip)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """All modules in eval mode for a while; nothing is touched where they are already."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _quoted(prompt: str) -> str:
    """A sentence in quotes, a long one cut."""
    cut = len(prompt) > _QUOTED_LETTERS
    return repr(prompt[:_QUOTED_LETTERS] + '...' if cut else prompt)
