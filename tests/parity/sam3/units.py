"""Stand-alone pieces of the published rules."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ovseg.encoders.sam3_concepts import ConceptHeads
from ovseg.encoders.sam3_context import neighbour_tokens
from ovseg.scores.concept_rule import ConceptDecision, ConceptRule
from ovseg.scores.phrase_answers import answers_of
from ovseg.scores.phrase_maps import Fusion, PhraseMaps
from ovseg.scores.preselection import active_phrases
from ovseg.segmentors.sam3_bank import fuse_prompts
from ovseg.text.row_groups import RowGroups
from ovseg.vocabulary import Rejection
from ovseg.vocabulary.canonical_words import canonical_words
from parity.report import EXACT, LABELS, Case
from parity.sam3.models import FEATURES, MAPS


@torch.inference_mode()
def check_units(file: Case, folder: Path) -> None:
    """Each piece by the function that the segmentor calls."""
    for case in file.cases('decide_active'):
        presence = case['presence']
        active, quantile = active_phrases(presence, case['quantile_alpha'], case['max_active'])
        if case['has_ties']:  # any of equal ones are right: as many of each presence
            theirs = presence[case.wanted('active')].sort().values
            case.compare_as('active', presence[active].sort().values, theirs)
            assert bool((presence[active] >= quantile).all())
        else:
            case.compare(EXACT, active=active)
    for case in file.cases('mabc'):
        scores = case['scores']
        rule = _rule(case, len(scores))
        case.compare(LABELS, pred=rule.judge(scores[None]).labels[0])
    for number, (word, _) in enumerate(file.content['canonicalize']):
        file.compare_as(
            f'canonicalize.{number}', canonical_words(word), file.content['canonicalize'][number][1]
        )
    file.use('canonicalize')
    _check_neighbours(file.inner('neighbor_bank'))
    case = file.inner('merge_synonyms')
    index = case['query_idx']
    ones = torch.ones(len(index))
    order = index.argsort(stable=True)
    groups = RowGroups(index[order], int(index.max()) + 1, ones, 'max')
    merged = groups.class_scores(case['query_scores'][None, order])[0]
    case.compare(MAPS, class_scores=merged)
    _check_conceptbank(file)


def _rule(case: Case, count: int) -> ConceptRule:
    index = torch.arange(count)
    return ConceptRule(
        RowGroups(index, count, torch.ones(count), 'max'),
        1.0,
        Rejection('class_zero', case['prob_thd']),
        case['bg_idx'],
        decision=ConceptDecision('margin', case['exponent']),
    )


def _check_neighbours(case: Case) -> None:
    weight = case['weight']
    projection = nn.Linear(weight.shape[1], weight.shape[0])
    projection.load_state_dict({'weight': weight, 'bias': case['bias']})
    case.compare(FEATURES, tokens=neighbour_tokens(case['pooled'], case['num_tokens'], projection))


def _check_conceptbank(file: Case) -> None:
    case = file.inner('conceptbank_fuse')
    fused, padding, embeds = fuse_prompts(
        case['features'], case['is_padding'], case['embeds'], case['weights']
    )
    case.compare(FEATURES, fused_features=fused, fused_embeds=embeds)
    case.compare(EXACT, fused_is_padding=padding)
    case = file.inner('conceptbank_map')
    masks, logits = case['pred_masks'], case['pred_logits']
    queries = torch.arange(logits.shape[1]).expand(logits.shape)
    heads = ConceptHeads(
        presence=case['presence_logits'].flatten(),
        scores=logits,
        boxes=torch.zeros(*logits.shape, 4),
        masks=masks,
        queries=queries,
        semantic=case['semantic_seg'][:, 0],
    )
    height, width = case['size']
    confidence = case['confidence_threshold']
    for key, changed in (
        ('maps', {'top_k': case['topk']}),
        ('maps_instances_only_no_topk', {'semantic': False}),
    ):
        fusion = Fusion(confidence=confidence, instance_presence=0, **changed)
        maps = PhraseMaps(
            [answers_of(heads, fusion)],
            [(0, 0, height, width)],
            (height, width),
            fusion,
            torch.empty(0),
        )
        case.compare(MAPS, {key: maps.rows(0, height)})
