"""Parity with FC-CLIP's words: templates, prompts, tokens, rows, and what was seen in training."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.clip_files import load_clip_weights
from ovseg.regions.region_scores import EnsembleSettings
from ovseg.text import TextEncoder, build_classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.templates import fill_template, get_templates
from parity.golden import as_float, token_table
from parity.maftplus.model import clip_config, words
from parity.report import EXACT, Case, Tolerance

_FEATURES = Tolerance(atol=2e-5, rtol=1e-4)
_FIRST = 40


@torch.inference_mode()
def check_text(file: Case, folder: Path) -> None:
    """Everything from lists of synonyms to text rows."""
    config = file['config']
    clip = build_architecture(clip_config(config)).eval()
    state = {**clip.state_dict(), **as_float(file['state_dict'])}
    state['token_embedding.weight'] = token_table(
        file['token_embedding_row_index'], file['token_embedding_rows']
    )
    load_clip_weights(clip, state, str(file.file))
    tokenizer = open_clip.SimpleTokenizer(context_length=clip.context_length)
    encoder = TextEncoder(clip, tokenizer, cache_dir=None)
    inputs, outputs = file.inner('inputs'), file.inner('outputs')
    templates = get_templates('vild-14')
    inputs.compare(EXACT, templates=list(templates))
    vocabularies = {}
    for split in ('train', 'test'):
        classes = [words(name) for name in inputs[f'{split}_classes']]
        vocabularies[split] = Vocabulary.parse(classes)
        sentences = [fill_template(t, word) for each in classes for word in each for t in templates]
        outputs.compare(
            EXACT,
            {
                f'{split}_prompts': sentences,
                f'num_synonyms_{split}': [len(item.prompts) for item in vocabularies[split]],
            },
        )
        found = build_classifier(vocabularies[split], encoder, 'vild-14', 'max')
        outputs.compare(_FEATURES, {f'text_classifier_{split}': found.weight})
        if split == 'test':
            outputs.compare(EXACT, token_ids_first40=tokenizer(sentences[:_FIRST]))
            outputs.compare(_FEATURES, raw_features_first40=encoder.encode(sentences[:_FIRST]))
    seen = EnsembleSettings(
        weight=0.4, unseen_weight=0.8, seen=[words(name) for name in inputs['train_classes']]
    )
    outputs.compare(
        EXACT, category_overlapping_mask=torch.tensor(seen.knows(vocabularies['test'])).long()
    )
