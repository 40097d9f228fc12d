"""Parity with OVSeg's words: class names, templates, tokens and text rows."""

from __future__ import annotations

from pathlib import Path

import torch

from ovseg.datasets.coco import PIXEL_VALUES
from ovseg.datasets.preparation.ade847 import OBJECT_IDS
from ovseg.parity.ovseg_clip import FEATURES, text_model
from ovseg.parity.report import EXACT, Report
from ovseg.text import TextEncoder, build_classifier
from ovseg.text.cosine import LOGIT_SCALE, with_no_object
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.protocols import protocol_words
from ovseg.vocabulary.templates import fill_template, get_templates

_PROTOCOLS = {
    'ade20k_150': 'ade20k',
    'ade20k_full_847': 'ade847',
    'coco_stuff_171': 'coco_stuff164k',
    'pascal_voc_20': 'voc20',
    'pascal_context_59': 'context59',
    'pascal_context_459': 'context459',
}


def check_class_names(report: Report, folder: Path) -> None:
    """Words of the published protocols, and the ids of their labels."""
    for key, dataset in _PROTOCOLS.items():
        _, prompts, _ = protocol_words(dataset, 'ovseg')
        theirs = [name.strip() for name in report.content[key]]  # as they are put into templates
        report.compare(key, [list(words) for words in prompts], [[name] for name in theirs], EXACT)
    ids = [value + 1 for value in PIXEL_VALUES]
    key = 'coco_stuff_171_dataset_id'
    report.compare(key, ids, list(report.content[key]), EXACT)
    key = 'ade20k_full_847_object_id'
    report.compare(key, OBJECT_IDS, list(report.content[key]), EXACT)


@torch.inference_mode()
def check_text(report: Report, folder: Path) -> None:
    """Templates, tokens, sentences and text rows."""
    content, inputs, outputs = report.content, report.content['inputs'], report.content['outputs']
    report.use('config', 'state_dict', 'token_embedding_row_index', 'token_embedding_rows')
    report.use('inputs.class_names', 'inputs.templates_predefined', 'inputs.non_object_embedding')
    clip, tokenizer = text_model(content)
    encoder = TextEncoder(clip, tokenizer, cache_dir=None)
    names = [name.strip() for name in inputs['class_names']]
    vocabulary = Vocabulary.parse([[name] for name in names])
    templates = get_templates('vild-14')
    report.compare('inputs.templates_vild', list(templates), inputs['templates_vild'], EXACT)
    sentences = [fill_template(template, name) for template in templates for name in names]
    shape = (len(templates), len(names))
    ids = tokenizer(sentences).unflatten(0, shape)
    report.compare('inputs.token_ids_vild', ids, inputs['token_ids_vild'], EXACT)
    raw = encoder.encode(sentences).unflatten(0, shape)
    key = 'raw_text_features_vild'
    report.compare(f'outputs.{key}', raw, outputs[key], FEATURES)
    rows = {
        name: build_classifier(vocabulary, encoder, given, 'joined', logit_scale=LOGIT_SCALE).weight
        for name, given in (('vild', 'vild-14'), ('predefined', inputs['templates_predefined']))
    }
    for name, ours in rows.items():
        key = f'text_features_{name}'
        report.compare(f'outputs.{key}', ours, outputs[key], FEATURES)
    key = 'text_features_with_non_object'
    ours = with_no_object(rows['vild'], inputs['non_object_embedding'])
    report.compare(f'outputs.{key}', ours, outputs[key], FEATURES)
