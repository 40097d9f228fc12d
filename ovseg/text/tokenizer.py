"""Tokenizers as a text tower of open_clip's asks for them: CLIP's own, or one of the hub's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
from open_clip.tokenizer import HFTokenizer, get_clean_fn
from torch import Tensor

from ovseg.downloads import reaches_hub
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.input_files import cause_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Cleanings of open_clip's: case and punctuation kept; lower case; lower case, no punctuation.
CLEANINGS = ('whitespace', 'lower', 'canonicalize')
_CONTEXT_LENGTH = 77


class HubTokenizer:
    """A tokenizer of transformers', filled up behind the sentence, as towers of open_clip read it.

    What fills up is not masked: towers that read the last place (SigLIP's) were trained on it, and
    a shorter filling changes their embedding.

    Args:
        wrapped: of open_clip; its settings are changed here.
        cleaning: of :data:`CLEANINGS`, applied to each sentence.
        vocabulary: rows of the tower's token embedding, or None if that is not known.

    Attributes:
        context_length: tokens of a sentence.
        cleaning: as above; part of what tells one tokenizer from another.
    """

    def __init__(self, wrapped: HFTokenizer, cleaning: str, vocabulary: int | None) -> None:
        inner: PreTrainedTokenizerBase = wrapped.tokenizer
        inner.padding_side = 'right'  # Siglip2Tokenizer's default is left
        wrapped.clean_fn = get_clean_fn(cleaning)
        self.cleaning = f'{cleaning} for {type(inner).__name__}'
        self.context_length = wrapped.context_length
        self._wrapped, self._vocabulary = wrapped, vocabulary

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """Tokens (P, context length), int64.

        Args:
            texts: P sentences.
            context_length: instead of the tokenizer's.

        Raises:
            UserError: the tower has no row for a token.
        """
        tokens = self._wrapped(list(texts), context_length)
        if self._vocabulary is not None and int(tokens.max()) >= self._vocabulary:
            raise UserError(
                f'the tokenizer gives token {int(tokens.max())}, and the text tower has '
                f'{self._vocabulary}: it is the tokenizer of another model; check clip.tokenizer'
            )
        return tokens


def build_tokenizer(
    text: Mapping[str, Any], source: str | Path | None = None, canonical: bool = False
) -> HubTokenizer | open_clip.SimpleTokenizer:
    """The tokenizer of a text tower.

    Args:
        text: ``text_cfg`` of an open_clip model config: ``hf_tokenizer_name``,
            ``tokenizer_kwargs``, ``tokenizer_mode`` and ``context_length`` are read.
        source: folder or hub name of a tokenizer instead of ``hf_tokenizer_name``.
        canonical: whether the tower was trained on lower-case words without punctuation; then a
            tokenizer of the hub gets them so unless ``tokenizer_kwargs`` says ``clean``.

    Raises:
        UserError: transformers is missing, the tokenizer cannot be read or would run code, or an
            unknown setting.
    """
    settings = dict(text.get('tokenizer_kwargs') or {})
    length = text.get('context_length', _CONTEXT_LENGTH)
    if settings.get('clean', CLEANINGS[0]) not in CLEANINGS:
        raise UserError(
            f'clean of clip.model.text_cfg.tokenizer_kwargs must be one of {", ".join(CLEANINGS)}, '
            f"got '{settings['clean']}'"
        )
    name = str(source or text.get('hf_tokenizer_name') or '')
    try:
        if not name:
            return open_clip.SimpleTokenizer(context_length=length, **settings)
        cleaning = settings.pop('clean', None)
        wrapped = _of_hub(name, length, text.get('tokenizer_mode'), settings)
    except TypeError as error:
        raise UserError(f'clip.model.text_cfg.tokenizer_kwargs: {error}') from error
    if cleaning is None:
        # SigLIP's own classes know that their words are canonical, and do half of it.
        canonical = canonical or type(wrapped.tokenizer).__name__.startswith('Siglip')
        cleaning = 'canonicalize' if canonical else 'whitespace'
    return HubTokenizer(wrapped, cleaning, text.get('vocab_size'))


def _of_hub(name: str, length: int, mode: str | None, settings: dict[str, Any]) -> HFTokenizer:
    if settings.pop('trust_remote_code', False):
        raise UserError(
            'trust_remote_code runs code that somebody else may change; ovseg never does, remove '
            'it from clip.model.text_cfg.tokenizer_kwargs'
        )
    with of_extra('transformers', f"The tokenizer '{name}' is read by transformers"):
        import transformers  # noqa: F401
    local = os.path.isdir(os.path.expanduser(name))
    try:
        wrapped = HFTokenizer(
            os.path.expanduser(name) if local else name,
            context_length=length,
            tokenizer_mode=mode,
            trust_remote_code=False,
            # Without a network the hub's client would try for a minute.
            local_files_only=local or not reaches_hub(),
            **settings,
        )
        wrapped(['a'])  # without a token to fill up with it fails here
    except TypeError:
        raise
    except Exception as error:
        what = (
            'give a folder with tokenizer.json (or the SentencePiece model) and '
            'tokenizer_config.json of a tokenizer that needs no code of its own'
            if local
            else 'fetch its files where there is a network, and give their folder as clip.tokenizer'
        )
        raise UserError(
            f"the tokenizer '{name}' cannot be read ({cause_of(error)}); {what}"
        ) from error
    return wrapped
