"""SAM 3 itself: pixels, levels, the geometry token, phrases, heads, instances."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam3_concepts import ConceptFeatures, Phrases, square_pixels
from ovseg.scores.phrase_answers import answers_of
from ovseg.scores.phrase_maps import Fusion
from ovseg.segmentors import SAM3Segmentor
from parity.golden import read
from parity.report import EXACT, Case, Tolerance
from parity.sam3.models import FEATURES, MASKS, PIXELS, SCORES, build, image_of


def check_weights(file: Case, folder: Path) -> None:
    """A file in transformers' names loads into the model of its config, and none is left out."""
    model = build(folder)
    file.use('config')
    file.compare_weights('state_dict', model.sam3.model.state_dict(), whole=True)
    # Positions of another size are made, not read.
    size = file['preview_image_size']
    model.sam3.look(torch.zeros(1, 3, size, size))
    file.compare_as('preview_image_size', model.sam3._side, size, EXACT)


@torch.inference_mode()
def check_heads(file: Case, folder: Path) -> None:
    """One image and its phrases through the parts of the model."""
    config, inputs = file.inner('config'), file.inner('inputs')
    model = build(folder)
    # The table of words is the reference's own.
    file.use('word_ids')
    image = image_of(folder)
    inputs.use('image_rgb_uint8')
    config.compare_as('original_size', list(image.shape[2:]), list(config.wanted('original_size')))
    config.compare_as('image_size', model.image_size, config.wanted('image_size'))
    pixels = square_pixels(image, model.image_size)
    # A sum of so many numbers is rounded itself.
    total = Tolerance(atol=1e-6 * pixels.numel())
    inputs.compare(PIXELS, pixel_values_s4=pixels[..., ::4, ::4])
    inputs.compare(total, pixel_values_sum=pixels.sum())
    tower, words = model.sam3.tower, list(inputs['phrases'])
    ids = model.sam3._tokenizer(words)
    inputs.compare(EXACT, input_ids=ids)
    phrases = model.text.encode(words)
    inputs.compare_as('attention_mask', phrases.mask.long(), inputs.wanted('attention_mask').long())
    assert tower.context_length == ids.shape[1]
    features = model.sam3.look(pixels)
    heads = model.sam3.ask(features, phrases)
    assert heads.encoded is not None
    mid = file.inner('mid')
    mid.compare(
        FEATURES,
        text_features=phrases.tokens,
        text_embeds_pooled=phrases.pooled,
        fpn0_s4=features.levels[0][..., ::4, ::4],
        fpn1_s2=features.levels[1][..., ::2, ::2],
        fpn2=features.levels[2],
        geometry_token=features.geometry,
    )
    mid.compare(MASKS, encoder_output_first2=heads.encoded[:2])
    outputs = file.inner('outputs')
    outputs.compare(
        SCORES,
        pred_logits=heads.scores,
        presence_logits=heads.presence[:, None],
        pred_boxes_xyxy=heads.boxes,
        semantic_seg=heads.semantic[:, None],
    )
    outputs.compare(MASKS, pred_masks=heads.masks)
    _check_without_token(file.inner('without_geometry_token'), model, pixels, ids)
    _check_instances(file, model, features, phrases, config['confidence_threshold'], image)


def _check_without_token(wanted: Case, model: SAM3Segmentor, pixels: Tensor, ids: Tensor) -> None:
    """What the loaded model's own forward gives, which lacks the token."""
    mask = (ids != 0).long()
    found = model.sam3.model(
        pixel_values=pixels.expand(len(ids), -1, -1, -1), input_ids=ids, attention_mask=mask
    )
    wanted.compare(
        SCORES,
        pred_logits=found.pred_logits,
        presence_logits=found.presence_logits,
        semantic_seg_s2=found.semantic_seg[..., ::2, ::2],
    )


def _check_instances(
    file: Case,
    model: SAM3Segmentor,
    features: ConceptFeatures,
    phrases: Phrases,
    confidence: float,
    image: Tensor,
) -> None:
    """What is kept of each phrase; areas of masks in both orders of resize and sigmoid."""
    height, width = image.shape[2:]
    fusion = Fusion(confidence=confidence)
    answers = answers_of(model.sam3.ask(features, phrases, keep_above=confidence), fusion)
    words = read(folder_of(file) / 'heads.pt')['inputs']['phrases']
    sides = torch.tensor([width, height, width, height])
    for row, case in enumerate(file.cases('instances')):
        case.compare_as('phrase', words[row], case.wanted('phrase'))
        answer = answers[row]
        logits = answer.masks.float()
        ours = theirs = torch.zeros(0)
        if len(logits):
            ours = F.interpolate(logits[None], (height, width), mode='bilinear')[0].sigmoid()
            theirs = F.interpolate(logits[None].sigmoid(), (height, width), mode='bilinear')[0]
            ours, theirs = (each > 0.5 for each in (ours, theirs))
            ours, theirs = (each.sum((1, 2)).float() for each in (ours, theirs))
        boxes = answer.boxes * sides
        within = Tolerance(atol=1e-3 * max(height, width))
        areas = Tolerance(atol=2.0, rtol=0.01)
        case.compare(SCORES, scores=answer.scores, scores_transformers=answer.scores)
        case.compare(within, boxes_xyxy=boxes, boxes_transformers=boxes)
        for key, value in (('areas', ours), ('areas_transformers', theirs)):
            if key in case:
                case.compare_as(key, value, case.wanted(key).float(), areas)


def folder_of(file: Case) -> Path:
    """Where a golden file lies."""
    return file.file.parent
