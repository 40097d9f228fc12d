"""Parity with FC-CLIP and MAFT+: weights, and from images to score maps, segments and instances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pycocotools.mask import decode
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.mask_pooling import pool_in_masks
from ovseg.regions.region_scores import EnsembleSettings
from ovseg.regions.void_ensemble import released_logits
from ovseg.segmentors import FCCLIP, MAFTPlus
from ovseg.segmentors.mask_segmentor import ProposalEncoding
from ovseg.text import Classifier
from ovseg.text.cosine import with_no_object
from parity.golden import read
from parity.maftplus.model import (
    LOGITS,
    build,
    classifier_of,
    encodings_of,
    load,
    of_file,
    with_void,
)
from parity.ovseg.maskformer import pad_images
from parity.report import EXACT, LABELS, Case, Tolerance

_SUMS = Tolerance(rtol=1e-6, atol=1e-2)
_FEATURES = Tolerance(atol=3e-5, rtol=1e-4)
_SCORES = Tolerance(atol=1e-4, rtol=1e-4)
# log(p + 1e-8) magnifies what small probabilities differ by.
_LOGARITHMS = Tolerance(atol=1e-3, rtol=1e-4)
_ROUNDING = 1e-5
_STRIPS = MemoryBudget(2**16 / 2**20)


def check_weights(file: Case, folder: Path) -> None:
    """Published keys and values, loaded and saved again."""
    file.use('config')
    saved = of_file(file.file).to_published()
    file.compare_weights('state_dict', saved)
    theirs = set(file.wanted('state_dict'))
    # The golden files leave the text tower out; ResNets' hold the backbone alone.
    left_out = [key for key in saved if key not in theirs and '.visual.' in key]
    file.compare_as('state_dict', left_out, [])


def check_teacher(file: Case, folder: Path) -> None:
    """The second CLIP of MAFT+."""
    weights = read(folder / 'maftplus_weights.pt')
    state = dict(file.content['state_dict'])
    model = build(weights['config'], MAFTPlus, teacher=True)
    saved = load(model, weights['state_dict'], state).to_published()
    scale = 'backbone_t.clip_model.logit_scale'
    case = file.inner('state_dict')
    file.inner('state_dict').leave(scale, "the teacher's temperature serves nobody")
    case.compare(EXACT, {key: saved.get(key, torch.empty(0)) for key in state if key != scale})


@torch.inference_mode()
def check_forward(file: Case, folder: Path) -> None:
    """Everything from images of different sizes, padded together, to the three kinds of output."""
    config, inputs, case = file['config'], file['inputs'], file.inner('intermediates')
    model = of_file(file.file, config)
    images = pad_images(inputs['images'], config)
    levels = model.levels_of(images)
    head, classifier = (
        model.proposals,
        classifier_of(
            inputs['text_classifier_test'],
            inputs['num_synonyms_test'],
            inputs['category_overlapping_mask'],
        ),
    )
    mask_features, multi_scale = head.pixel_decoder(list(levels))
    _, masks = head.forward_layers(levels)
    size = (images.shape[2], images.shape[3])
    last = head(levels, size)
    sides = dict(zip(('res2', 'res3', 'res4', 'res5'), levels, strict=True))
    case.compare(EXACT, batched_shape=list(images.shape))
    case.compare(_SUMS, batched_image_sum=images.double().sum((1, 2, 3)))
    case.inner('features').compare(
        _FEATURES,
        res2=sides['res2'][:, ::4],
        res3=sides['res3'][:, ::2],
        res4=sides['res4'][:, ::2],
        res5=sides['res5'],
        clip_vis_dense=levels[-1],
    )
    case.compare(LOGITS, mask_features_sub4=mask_features[:, ::4])
    case.inner('multi_scale').compare(LOGITS, dict(enumerate(multi_scale)))
    outputs = head.decode(head.pixel_maps(levels))
    for layer, theirs in enumerate(case.wanted('aux_pred_logits')):
        near = _nearest_side(model, outputs, layer, classifier, theirs)
        case.inner('aux_pred_logits').compare(LOGITS, {layer: near})
    sums = masks[:-1].double().sum((-2, -1))
    case.inner('aux_pred_masks_sum').compare(
        Tolerance(atol=1e-5 * masks[0, 0, 0].numel(), rtol=1e-5), dict(enumerate(sums))
    )
    case.compare(
        LOGITS,
        pred_logits=_nearest_side(
            model, outputs, len(masks) - 1, classifier, case.wanted('pred_logits')
        ),
        pred_masks=last.mask_logits,
        pooled_clip_feature=pool_in_masks(levels[-1], last.mask_logits),
    )
    found = encodings_of(model, levels, last.mask_logits, last.embeddings, size, inputs['images'])
    _compare_second_look(case, model, found, levels[-1], last.mask_logits, classifier)
    if isinstance(model, MAFTPlus):
        rows = with_no_object(classifier.weight, head.non_object_embedding)
        image = model.image_feature(levels[-1])
        case.compare(
            LOGITS,
            cdt_image_feature=image,
            cdt_text_in=rows,
            cdt_text_out=model.transfer(rows, image),
        )
    _compare_outputs(file, model, found, classifier)


@torch.inference_mode()
def check_tail(file: Case, folder: Path) -> None:
    """Everything after the decoder, for class logits and masks that the file gives."""
    config, inputs, features = file['config'], file['inputs'], file.inner('features')
    model = of_file(file.file, config)
    images = pad_images(inputs['images'], config)
    levels = model.levels_of(images)
    features.compare(
        _FEATURES, res3=levels[1][:, ::2], res4=levels[2][:, ::2], clip_vis_dense=levels[-1]
    )
    if 'res3' in features and features.wanted('res3').shape[1] == levels[1].shape[1]:
        features.compare(_FEATURES, res3=levels[1], res4=levels[2])
    classifier = classifier_of(
        inputs['text_classifier_test'],
        inputs['num_synonyms_test'],
        inputs['category_overlapping_mask'],
    )
    weights = file.file.with_name(file.file.name.replace('_tail', '_weights'))
    has_void = 'void_embedding.weight' in read(weights)['state_dict']
    for case in file.cases('cases'):
        masks = case.get('pred_masks', inputs['pred_masks'])
        model.ensemble = EnsembleSettings(
            weight=case['alpha'], unseen_weight=case['beta'], seen=['-']
        )
        model._only_filled = case['ensemble_on_valid_mask']
        model._read_scale()
        size = (images.shape[2], images.shape[3])
        found = encodings_of(model, levels, masks, inputs['pred_logits'], size, inputs['images'])
        # The file gives class logits, not what they are made of.
        model.proposals.class_logits = lambda given, _: given
        _compare_second_look(case, model, found, levels[-1], masks, classifier, has_void)
        for number, (encoding, wanted) in enumerate(
            zip(found, inputs['output_sizes'], strict=True)
        ):
            output = tuple(wanted)
            _compare_segments(
                case.inner('panoptic').inner(number), model, encoding, classifier, output, config
            )
            _compare_instances(
                case.inner('instances').inner(number), model, encoding, classifier, output, config
            )
            scores = model.scores(encoding, classifier, output).whole(_STRIPS)
            case.inner('sem_seg_sub').compare(_SCORES, {number: scores[:, ::5, ::7]})
            case.inner('sem_seg_argmax').compare(LABELS, {number: scores.argmax(0)})


def _nearest_side(
    model: FCCLIP, outputs: Any, layer: int, classifier: Classifier, theirs: Tensor
) -> Tensor:
    """Class logits after a layer, of the side of 0 that fits where a mask logit is rounded to it.

    A mask holds the places whose logits are above 0; where one of them is as small as rounding,
    either may be found.
    """
    head, own = model.proposals, outputs.mask_logits[layer]
    found = []
    for shift in (0.0, _ROUNDING, -_ROUNDING):
        shifted = [*outputs.mask_logits]
        shifted[layer] = own + shift
        embeddings = head.embed(replace(outputs, mask_logits=shifted), layer)
        found.append(head.class_logits(embeddings, classifier))
    unsure = own.abs().flatten(2).amin(-1) < _ROUNDING
    sides = torch.stack(found)
    best = (sides - theirs).abs().amax(-1).argmin(0) * unsure
    return sides.gather(0, best[None, ..., None].expand(1, *theirs.shape))[0]


def _compare_second_look(
    case: Case,
    model: FCCLIP,
    found: list[ProposalEncoding],
    dense: Tensor,
    masks: Tensor,
    classifier: Classifier,
    has_void: bool = True,
) -> None:
    """CLIP's embeddings and logits of the masks, void's column included, and the ensemble."""
    void = with_void(model, classifier)
    embeddings = model.pyramid.embed_masks(dense, masks)
    case.compare(LOGITS, clip_embed=embeddings)
    whole = [
        replace(
            encoding,
            features=replace(
                encoding.features,
                embeddings=embeddings[number],
                valid=torch.ones(len(embeddings[number]), dtype=torch.bool),
            ),
        )
        for number, encoding in enumerate(found)
    ]
    ours = torch.stack([model.mask_logits(each, void) for each in whole])
    if not has_void:  # then its column is another random row's
        ours = torch.cat([ours[..., :-1], case.wanted('out_vocab_logits')[..., -1:]], dim=-1)
    case.compare(Tolerance(atol=2e-4, rtol=2e-5), out_vocab_logits=ours)
    final = case.inner('mask_cls_final')
    for number, encoding in enumerate(found):
        ours = model.class_probabilities(encoding, classifier)
        final.compare(_LOGARITHMS, {number: released_logits(ours)})


def _compare_outputs(
    file: Case, model: FCCLIP, found: list[ProposalEncoding], classifier: Classifier
) -> None:
    config, sizes = file.content['config'], file.content['inputs']['output_sizes']
    of_sums, of_masks = 'sem_seg_semantic_only_config_sub3', 'outputs_panoptic_and_instance_on'
    for number, (encoding, wanted) in enumerate(zip(found, sizes, strict=True)):
        size, maps = tuple(wanted), {}
        for first in (True, False):
            model._resize_masks_first = first
            maps[first] = model.scores(encoding, classifier, size).whole(_STRIPS)
        output = file.inner('outputs').inner(number)
        output.compare(_SCORES, sem_seg=maps['panoptic_seg' in output])
        if of_sums in file:
            file.inner(of_sums).compare(_SCORES, {number: maps[False][:, ::3, ::3]})
        parts = [output]
        if of_masks in file:
            parts.append(file.inner(of_masks).inner(number))
            parts[-1].compare(_SCORES, sem_seg=maps[True][:, ::3, ::3])
        for part in parts:
            if 'panoptic_seg' in part:
                _compare_segments(part, model, encoding, classifier, size, config)
                _compare_instances(
                    part.inner('instances'), model, encoding, classifier, size, config
                )


def _compare_segments(
    case: Case,
    model: FCCLIP,
    encoding: ProposalEncoding,
    classifier: Classifier,
    size: tuple[int, int],
    config: dict[str, Any],
) -> None:
    stuff = set(range(classifier.num_classes)) - set(config['test_thing_ids'])
    found = model.find_segments(encoding, size, classifier, stuff=stuff, budget=_STRIPS)
    facts = [
        {'id': each.id, 'isthing': each.is_thing, 'category_id': each.label}
        for each in found.segments
    ]
    case.compare(LABELS, panoptic_seg=found.ids)
    case.compare(EXACT, segments_info=facts)


def _compare_instances(
    case: Case,
    model: FCCLIP,
    encoding: ProposalEncoding,
    classifier: Classifier,
    size: tuple[int, int],
    config: dict[str, Any],
) -> None:
    stuff = set(range(classifier.num_classes)) - set(config['test_thing_ids'])
    model.most_instances = config['topk_per_image']
    found = model.find_instances(encoding, size, classifier, stuff=stuff, budget=_STRIPS)
    masks = torch.stack([torch.from_numpy(decode(each)) for each in found.masks])
    areas = masks.sum((1, 2))
    # Masks without a pixel score 0 there, and are no instances here.
    theirs = {key: case.wanted(key) for key in ('scores', 'classes', 'mask_areas')}
    filled = theirs['mask_areas'] > 0
    theirs = {key: value[filled] for key, value in theirs.items()}
    case.compare_as('scores', found.scores, theirs['scores'], _SCORES)
    # Equal scores come in any order.
    own = _in_order(found.scores, found.labels, areas)
    other = _in_order(theirs['scores'], theirs['classes'], theirs['mask_areas'])
    case.compare_as('classes', found.labels[own], theirs['classes'][other])
    wanted = theirs['mask_areas'][other].double()
    case.compare_as('mask_areas', areas[own].double(), wanted, Tolerance(atol=2))
    if 'masks_first4' in case:
        shown = case.wanted('masks_first4')[filled[:4]]
        case.compare_as('masks_first4', masks[: len(shown)], shown, LABELS)


def _in_order(scores: Tensor, labels: Tensor, areas: Tensor) -> list[int]:
    """Indices by falling score; equal ones by class and area."""
    rounded = [round(score, 4) for score in scores.tolist()]
    keys = list(zip([-each for each in rounded], labels.tolist(), areas.tolist(), strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)
