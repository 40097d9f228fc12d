"""Parity with OVSeg's words: class names, templates, tokens and text rows."""

from __future__ import annotations

from pathlib import Path

import torch

from ovseg.datasets.preparation.ade847 import OBJECT_IDS
from ovseg.datasets.preparation.coco_values import PIXEL_VALUES
from ovseg.text import TextEncoder, build_classifier
from ovseg.text.cosine import LOGIT_SCALE, with_no_object
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.protocols import protocol_words
from ovseg.vocabulary.templates import fill_template, get_templates
from parity.ovseg.clip import FEATURES, text_model
from parity.report import EXACT, Case

_PROTOCOLS = {
    'ade20k_150': 'ade20k',
    'ade20k_full_847': 'ade847',
    'coco_stuff_171': 'coco_stuff164k',
    'pascal_voc_20': 'voc20',
    'pascal_context_59': 'context59',
    'pascal_context_459': 'context459',
}


def check_class_names(file: Case, folder: Path) -> None:
    """Words of the published protocols, and the ids of their labels."""
    for key, dataset in _PROTOCOLS.items():
        _, prompts, _ = protocol_words(dataset, 'ovseg')
        theirs = [[name.strip()] for name in file.wanted(key)]  # as they are put into templates
        file.compare_as(key, [list(words) for words in prompts], theirs)
    file.compare(
        EXACT,
        coco_stuff_171_dataset_id=[value + 1 for value in PIXEL_VALUES],
        ade20k_full_847_object_id=list(OBJECT_IDS),
    )


@torch.inference_mode()
def check_text(file: Case, folder: Path) -> None:
    """Templates, tokens, sentences and text rows."""
    file.use('config', 'state_dict', 'token_embedding_row_index', 'token_embedding_rows')
    inputs, outputs = file.inner('inputs'), file.inner('outputs')
    clip, tokenizer = text_model(file.content)
    encoder = TextEncoder(clip, tokenizer, cache_dir=None)
    names = [name.strip() for name in inputs['class_names']]
    vocabulary = Vocabulary.parse([[name] for name in names])
    templates = get_templates('vild-14')
    sentences = [fill_template(template, name) for template in templates for name in names]
    shape = (len(templates), len(names))
    ids = tokenizer(sentences).unflatten(0, shape)
    inputs.compare(EXACT, templates_vild=list(templates), token_ids_vild=ids)
    vild, predefined = (
        build_classifier(vocabulary, encoder, given, 'joined', logit_scale=LOGIT_SCALE).weight
        for given in ('vild-14', inputs['templates_predefined'])
    )
    outputs.compare(
        FEATURES,
        raw_text_features_vild=encoder.encode(sentences).unflatten(0, shape),
        text_features_vild=vild,
        text_features_predefined=predefined,
        text_features_with_non_object=with_no_object(vild, inputs['non_object_embedding']),
    )
