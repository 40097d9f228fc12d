"""The tiny SAM 3 that ships with ovseg: transformers' class, a few megabytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import open_clip

from ovseg.encoders.embedded import fill_and_freeze, read_embedded
from ovseg.encoders.sam3 import LoadedSAM3, sam3_config
from ovseg.encoders.tiny import all_token_rows
from ovseg.weight_files import WEIGHTS

if TYPE_CHECKING:
    from transformers import Sam3Model

TOKENS = 'text_encoder.text_model.embeddings.token_embedding.weight'


def build_tiny_sam3(name: str = 'tiny_sam3_scenes', folder: str | Path = WEIGHTS) -> LoadedSAM3:
    """Returns an embedded SAM 3 with CLIP's own tokenizer.

    The file holds the token embedding's rows of the words that training saw; every other word gets
    their mean, which says nothing.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export.py tiny-sam3`` wrote to.

    Raises:
        UserError: transformers is missing or too old, no such model, or weights that do not fit its
            description.
    """
    facts, state = read_embedded(name, folder, 'sam3')
    config = sam3_config(facts['model'])
    from transformers import Sam3Model

    model: Sam3Model = Sam3Model(config)
    state[TOKENS] = all_token_rows(state[TOKENS], facts['token_ids'], model.get_parameter(TOKENS))
    fill_and_freeze(model, state, name)
    length = facts['model']['text_config']['max_position_embeddings']
    return LoadedSAM3(model, open_clip.SimpleTokenizer(context_length=length), name, 'embedded')
