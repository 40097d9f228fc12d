"""Parity with OVSeg's second stage: region crops, mask-adapted CLIP, ensemble."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.regions.mask_classifier import MaskFeatures
from ovseg.regions.mask_maps import WeighedMasks, mask_maps, masks_at, select_queries, sum_of_masks
from ovseg.regions.region_crops import RegionSettings, crop_regions, mask_boxes, masked_crops
from ovseg.regions.region_embeddings import embed_regions
from ovseg.regions.region_scores import (
    EnsembleSettings,
    ProposalScores,
    fuse,
    one_mask_a_class,
    proposal_probabilities,
    region_probabilities,
)
from ovseg.scores.row_map import WindowMaps
from ovseg.text.cosine import LOGIT_SCALE, cosine_logits, with_no_object
from parity.ovseg.clip import FEATURES, LOGITS, mask_prompted, read_visual
from parity.report import EXACT, Case

_MEMORY_MEGABYTES = 0.2  # small, so that the cases go through several batches
_STRIPS = MemoryBudget(2**16 / 2**20)
_LONE_PIXELS = 'lone_pixels_region'


def check_visual(file: Case, folder: Path) -> None:
    """The vision tower and its mask prompts, through the loader of published weights."""
    file.use('config')
    file.leave('logit_scale', f'both classifiers have the constant {LOGIT_SCALE:g}')
    own = mask_prompted(file.content).state_dict()
    own = {f'visual.{name}': value for name, value in own.items()}
    file.compare_weights('state_dict', own, whole=True)


def check_crops(file: Case, folder: Path) -> None:
    """Boxes, masked crops, and regions of one size."""
    inputs, config = file['inputs'], file.inner('config')
    height, width = inputs['image'].shape[1:]
    mean, std = list(open_clip.OPENAI_DATASET_MEAN), list(open_clip.OPENAI_DATASET_STD)
    config.compare(EXACT, pixel_mean=mean, pixel_std=std, H=height, W=width)
    part = _sub_index(config['sub_index'])
    for case in file.cases('cases'):
        _check_crop_case(case, inputs['image'], inputs['masks'], part, config['region_size'])


def _check_crop_case(
    case: Case, image: Tensor, masks: Tensor, part: tuple[slice, ...], size: int
) -> None:
    settings = {
        'threshold': case['mask_thr'],
        'expand_ratio': case['mask_expand_ratio'],
        'matting': case['mask_matting'],
        'size': size,
    }
    normal = RegionSettings(**settings, fill=case['mask_fill'])
    plain = RegionSettings(
        **settings, fill=normal.fill_colour, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    found = crop_regions(image, masks, normal)
    regions, shown = found.images, found.masks
    tight, valid = mask_boxes(masks, normal.threshold)
    case.compare(
        EXACT,
        valid=found.valid,
        boxes_xyxy=tight[valid].float(),
        crop_xyxy=found.boxes,
        region_masks_sub=shown[part],
        region_masks_uint8_first4=shown[:4].to(torch.uint8),
    )
    case.compare(
        FEATURES,
        regions_sub=regions[part],
        unnorm_regions_sub=crop_regions(image, masks, plain).images[part],
        regions_mean=regions.mean((1, 2, 3)),
        regions_std=regions.std((1, 2, 3)),
        regions_abs_sum=regions.double().abs().sum((1, 2, 3)),
        region_masks_sum=shown.double().sum((1, 2, 3)),
        region0_channel0=regions[:1, 0].squeeze(0),
    )
    if 'crops_normalised' in case:
        crops = list(masked_crops(image, masks[valid], found.boxes, normal))
        wanted, kept = case.inner('crops_normalised'), case.inner('crop_masks')
        case.compare_as('crops_normalised', len(crops), len(wanted.content))
        case.compare_as('crop_masks', len(crops), len(kept.content))
        for row, (crop, mask) in enumerate(crops):
            wanted.compare(FEATURES, {row: crop[None]})
            kept.compare(EXACT, {row: mask.expand_as(kept.wanted(row))})


@torch.inference_mode()
def check_forward(file: Case, folder: Path) -> None:
    """Tokens of every block with mask prompts, and embeddings with and without."""
    file.use('config')
    inputs, visual = file['inputs'], read_visual(folder)
    tower = mask_prompted(visual)
    factor = inputs['upsample']
    images = _enlarged(inputs['regions_small'].float(), factor)
    masks = _enlarged(inputs['region_masks_small'], factor)
    for key, pixels in inputs.items():
        if key.startswith(_LONE_PIXELS):
            region = int(key.removeprefix(_LONE_PIXELS))
            masks[region] = 0
            for y, x in pixels:
                masks[region, :, y, x] = 1
    _check_tokens(file.inner('intermediates'), tower, images, masks)
    features, outputs = tower(images, masks), file.inner('outputs')
    outputs.compare(
        FEATURES,
        features_no_mask=tower(images),
        features_mask_prompt=features,
        features_mask_prompt_normalised=features / features.norm(dim=-1, keepdim=True),
    )
    logits = cosine_logits(features, file['text_features_with_non_object'])
    outputs.compare(LOGITS, logits_t100=logits)
    by_depth = outputs.inner('features_by_prompt_depth')
    for depth in by_depth:
        ours = mask_prompted(visual, int(depth))(images, masks)
        by_depth.compare(FEATURES, {depth: ours})


def _check_tokens(case: Case, tower: MaskPromptedViT, images: Tensor, masks: Tensor) -> None:
    kept = tower.kept_patches(masks)
    case.compare(EXACT, patch_mask=kept[..., 0])
    part = torch.tensor(case['region_index'])[:, None], torch.tensor(case['token_index'])
    tokens = tower.embed(images, kept)
    ours = {'tok_in': tokens}
    for index, (before, after) in enumerate(tower.run_blocks(tower.ln_pre(tokens), kept)):
        ours |= {f'block{index}_in': before, f'block{index}_out': after}
    case.compare(FEATURES, {key: value[part] for key, value in ours.items()})


@torch.inference_mode()
def check_inference(file: Case, folder: Path) -> None:
    """One image's masks through both classifiers to score maps."""
    inputs, config, outputs = (file.inner(key) for key in ('inputs', 'config', 'outputs'))
    inputs.use('class_names', 'demo_two_classes')
    config.compare(EXACT, temperature=LOGIT_SCALE)
    file.use('config')
    text = inputs.wanted('text_features_with_non_object')
    with_row = with_no_object(text[:-1], inputs['non_object_embedding'])
    inputs.compare(FEATURES, text_features_with_non_object=with_row)
    case = _Inference(inputs, file['config'], mask_prompted(read_visual(folder)))
    prompted, plain, matted = (
        case.regions(mask_prompts, matting)
        for mask_prompts, matting in ((True, False), (False, False), (True, True))
    )
    intermediates = file.inner('intermediates')
    intermediates.compare(EXACT, valid=prompted.valid)
    intermediates.compare(
        LOGITS,
        clip_logits=cosine_logits(prompted.embeddings, text),
        clip_logits_no_mask_prompt=cosine_logits(plain.embeddings, text),
        clip_logits_matting=cosine_logits(matted.embeddings, text),
    )
    probabilities = region_probabilities(cosine_logits(prompted.embeddings, text), len(text) - 1)
    intermediates.compare(FEATURES, clip_probs=probabilities)
    semseg, demo = outputs.inner('semseg'), outputs.inner('demo')
    for key in semseg:
        found = plain if key.endswith('no_prompt') else prompted
        fused = case.fused(key, found, text, inputs['mask_cls_logits'])
        semseg.compare(FEATURES, {key: case.score_maps(fused)})
    for key in demo:
        demo.compare(FEATURES, {key: case.demo(key, prompted, text)})


class _Inference:
    """The one image of an inference case, and what the package makes of its masks."""

    def __init__(self, inputs: Case, config: Mapping[str, Any], tower: MaskPromptedViT) -> None:
        self.inputs, self.config, self.tower = inputs, config, tower
        self.size = tuple(inputs['image'].shape[1:])
        logits = inputs['mask_logits']
        self.maps: WindowMaps = mask_maps(logits, tuple(logits.shape[1:]), self.size)

    def regions(self, mask_prompts: bool, matting: bool) -> MaskFeatures:
        settings = RegionSettings(
            threshold=self.config['mask_thr'],
            fill=self.config['mask_fill'],
            expand_ratio=self.config['expand_ratio'],
            matting=matting,
            size=self.config['image_resolution'],
            batch_megabytes=_MEMORY_MEGABYTES,
        )
        return embed_regions(self.tower, self.inputs['image'], self.maps, settings, mask_prompts)

    def fused(
        self, key: str, found: MaskFeatures, text: Tensor, of_proposals: Tensor
    ) -> ProposalScores:
        """Scores as the name of a result says: ``w0.7...``, or ``no_ensemble``."""
        weight = re.match(r'w(\d+\.?\d*)', key)
        settings = EnsembleSettings(weight is not None, float(weight[1]) if weight else 0.0)
        first = proposal_probabilities(of_proposals)
        second = region_probabilities(cosine_logits(found.embeddings, text), first.shape[1])
        return fuse(first, second, found.valid, settings)

    def score_maps(self, fused: ProposalScores) -> Tensor:
        maps = select_queries(self.maps, fused.queries)
        return WeighedMasks(masks_at(maps, self.size), fused.scores).whole(_STRIPS)

    def demo(self, key: str, found: MaskFeatures, text: Tensor) -> Tensor:
        """Score maps of the masks that some class picks, by the demo's rule."""
        columns, picking, text = slice(None), None, text[:-1]
        if key.endswith('plus_others'):
            columns, picking = self.inputs['demo_two_class_columns'], 1
            text = self.inputs['text_features_two']
        fused = self.fused(key, found, text, self.inputs['mask_cls_logits'][:, columns])
        picked = one_mask_a_class(fused.scores, picking)
        masks = self.inputs['mask_logits'][fused.queries].sigmoid() > self.config['mask_thr']
        return sum_of_masks(masks, picked)


def _sub_index(text: str) -> tuple[slice, ...]:
    """The slices that a string such as ``'[:, :, 3::19, 5::19]'`` stands for."""
    return tuple(
        slice(*(int(number) if number.strip() else None for number in part.split(':')))
        for part in text.strip('[]').split(',')
    )


def _enlarged(image: Tensor, factor: int) -> Tensor:
    return image.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
