"""SegEarth-OV3 and ActiveSAM end to end, through the segmentor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.sam3_concepts import square_pixels
from ovseg.scores.concept_rule import margin_energy
from ovseg.scores.decide import decide
from ovseg.scores.preselection import active_phrases
from ovseg.segmentors import SAM3Segmentor
from ovseg.segmentors.sam3_words import PhraseClassifier
from ovseg.vocabulary.canonical_words import canonical_words
from parity.report import EXACT, LABELS, Case, Tolerance
from parity.sam3.models import (
    ENERGY,
    FEATURES,
    MAPS,
    PIXELS,
    SCORES,
    build,
    classes_of,
    encoded,
    image_of,
    vocabulary_of,
)

# Of some rows, so that cases go through several strips.
_STRIPS = MemoryBudget(0.05)


def _vocabulary(config: Case) -> list[list[str]]:
    """The classes that the case asks, checked against its list of words."""
    classes = vocabulary_of(list(config['class_lines']))
    asked = classes_of(list(config['query_words']), config['query_idx'])
    config.compare_as('query_words', asked, classes)
    return classes


def _labels(
    model: SAM3Segmentor, encoding: Any, size: tuple[int, int], threshold: float, background: int
) -> Tensor:
    """Labels with a threshold, the background any class of the list."""
    classifier = model.classifier
    rule = model.rule(classifier)
    rejection = replace(rule.rejection, kind='class_zero', threshold=threshold)
    rule = replace(rule, rejection=rejection, background_index=background)
    return decide(model.scores(encoding, classifier, size), rule, _STRIPS).labels


def _boxes_of(flags: Case) -> dict[str, Any]:
    """Our settings of the reference's switches."""
    fusion: dict[str, Any] = {}
    if not flags.get('use_transformer_decoder', True):
        fusion['instances'] = None
    if not flags.get('use_sem_seg', True):
        fusion['semantic'] = False
    if not flags.get('use_presence_score', True):
        fusion.update(instance_presence=0, semantic_presence=0)
    return fusion


@torch.inference_mode()
def check_segearth(file: Case, folder: Path) -> None:
    """All switches of SegEarth-OV3; windows; its threshold."""
    config, image = file.inner('config'), image_of(folder)
    size = (image.shape[2], image.shape[3])
    config.compare_as('original_size', list(size), list(config.wanted('original_size')))
    classes = _vocabulary(config)
    # Of variants, which say again what they take.
    config.use('prob_thd', 'bg_idx', 'slide_crop', 'slide_stride')
    confidence = config['confidence_threshold']
    for case in file.cases('variants'):
        flags = case.inner('flags') if 'flags' in case else Case(case.report, '', {})
        case.use('flags')
        windows = None
        if flags.get('slide_crop', 0):
            windows = {
                'mode': 'slide',
                'crop_size': flags['slide_crop'],
                'stride': flags['slide_stride'],
            }
        model = build(
            folder,
            rule='segearth',
            fusion={
                'confidence': flags.get('confidence_threshold', confidence),
                **_boxes_of(flags),
            },
            vocabulary=classes,
            test_cfg=windows,
        )
        encoding = encoded(model, image)
        rows = model.scores(encoding, model.classifier, size).whole(_STRIPS)
        scores = model.rule(model.classifier).probabilities(rows[None])[0]
        case.compare(
            MAPS,
            query_scores=rows,
            query_scores_s2=rows[:, ::2, ::2],
            class_scores_s2=scores[:, ::2, ::2],
        )
        background = flags.get('bg_idx', 0)
        labels = _labels(model, encoding, size, flags.get('prob_thd', 0.0), background)
        case.compare(LABELS, pred=labels)


def _activesam(file: Case, folder: Path, **changed: Any) -> SAM3Segmentor:
    """The segmentor of a case of ActiveSAM."""
    config, words = file.inner('config'), file.inner('config')
    canonical = [canonical_words(word) for word in words['query_words']]
    hypernyms = dict(zip(canonical, file.inner('inputs')['hypernyms'], strict=True))
    settings: dict[str, Any] = {
        'context': {
            'neighbours': config['neighbor_tokens'],
            'hypernyms': config['hypernym_tokens'],
            'table': hypernyms,
        },
        'preview': {
            'size': config['preview_size'],
            'alpha': config['quantile_alpha'],
            'at_most': config['max_active'],
        },
    }
    for box, fields in changed.items():
        settings[box] = {**settings[box], **fields}
    return build(
        folder,
        rule='activesam',
        fusion={'confidence': config['confidence_threshold']},
        decision={'exponent': config['mabc_exponent']},
        vocabulary=_vocabulary(config),
        **settings,
    )


@torch.inference_mode()
def check_activesam(file: Case, folder: Path) -> None:
    """Words, context tokens, preview, the active set, and the margin's background."""
    config, inputs, mid = file.inner('config'), file.inner('inputs'), file.inner('mid')
    image = image_of(folder)
    size = (image.shape[2], image.shape[3])
    config.compare_as('original_size', list(size), list(config.wanted('original_size')))
    model = _activesam(file, folder)
    classifier = model.classifier
    assert isinstance(classifier, PhraseClassifier)
    config.compare_as('canonical', list(classifier.phrases), list(config.wanted('canonical')))
    config.use('bucket_size')  # phrases of a block are independent
    ids = model.sam3._tokenizer(list(classifier.phrases))
    inputs.compare(EXACT, input_ids=ids)
    inputs.compare_as(
        'attention_mask', classifier.bare.mask.long(), inputs.wanted('attention_mask').long()
    )
    found = list(inputs['hypernym_words'])
    if found:
        inputs.compare(EXACT, hypernym_ids=model.sam3._tokenizer(found))
    _check_context(config, mid, classifier)
    encoding = encoded(model, image)
    active = _check_preview(config, mid, model, encoding)
    asked = classifier.asked[active]
    heads = model.sam3.ask(encoding.features, asked)
    mid.compare(
        SCORES,
        active_presence_logits=heads.presence[:, None],
        active_pred_logits=heads.scores,
        active_semantic_s2=heads.semantic[:, None, ::2, ::2],
    )
    outputs = file.inner('outputs')
    rows = model.scores(encoding, classifier, size).whole(_STRIPS)
    scores = model.rule(classifier).probabilities(rows[None])[0]
    best = scores.topk(2, dim=0).values
    mid.compare(ENERGY, energy_s2=margin_energy(best[0], best[1])[::2, ::2])
    outputs.compare(MAPS, active_query_scores=rows[active])
    threshold, background = config['prob_thd'], config['bg_idx']
    outputs.compare(
        LABELS,
        argmax=scores.argmax(0),
        pred=_labels(model, encoding, size, threshold, background),
    )
    for name, changed in (
        ('all_active', {'preview': {'at_most': len(classifier.phrases)}}),
        ('without_wordnet', {'context': {'hypernyms': 0}}),
    ):
        if name in file.inner('variants'):
            variant = _activesam(file, folder, **changed)
            case = file.inner('variants').inner(name)
            _check_variant(case, variant, image, (threshold, background))


def _check_context(config: Case, mid: Case, classifier: PhraseClassifier) -> None:
    count, length = config['neighbor_tokens'], classifier.bare.mask.shape[1]
    context = classifier.asked.tokens[:, length:]
    valid = classifier.asked.mask[:, length:]
    mid.compare(
        FEATURES,
        pooled_text=classifier.bare.pooled,
        neighbor_tokens=context[:, :count],
        hypernym_tokens=context[:, count:],
    )
    mid.compare(EXACT, hypernym_valid=valid[:, count:])


def _check_preview(config: Case, mid: Case, model: SAM3Segmentor, encoding: Any) -> Tensor:
    preview = model.preview
    assert preview is not None
    pixels = square_pixels(encoding.image[None], preview.size)
    mid.compare(PIXELS, preview_pixels_s4=pixels[..., ::4, ::4])
    presence = model.preview_presence(encoding, model.classifier)
    mid.compare(SCORES, preview_presence=presence)
    tau = active_phrases(presence, preview.alpha, preview.at_most)[1]
    mid.compare(Tolerance(atol=1e-3), tau=torch.tensor(tau))
    active = model.active(encoding, model.classifier)
    mid.compare(EXACT, active=active)
    return active


def _check_variant(
    case: Case, model: SAM3Segmentor, image: Tensor, rule: tuple[float, int]
) -> None:
    size = (image.shape[2], image.shape[3])
    encoding = encoded(model, image)
    rows = model.scores(encoding, model.classifier, size).whole(_STRIPS)
    active = model.active(encoding, model.classifier)
    scores = model.rule(model.classifier).probabilities(rows[None])[0]
    case.compare(
        MAPS,
        query_scores_s4=rows[:, ::4, ::4],
        query_scores_s2=rows[:, ::2, ::2],
        query_scores=rows,
        active_query_scores=rows[active],
        active_query_scores_s2=rows[active, ::2, ::2],
        active_query_scores_s4=rows[active, ::4, ::4],
    )
    case.compare(LABELS, argmax=scores.argmax(0), pred=_labels(model, encoding, size, *rule))
