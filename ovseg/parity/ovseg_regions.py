"""Parity with OVSeg's second stage: region crops, mask-adapted CLIP, ensemble."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.parity.ovseg_clip import FEATURES, LOGITS, mask_prompted, read_visual
from ovseg.parity.report import EXACT, Report
from ovseg.regions.mask_maps import mask_maps, segment_masks, select_queries, sum_of_masks
from ovseg.regions.region_crops import (
    RegionSettings,
    crop_regions,
    mask_boxes,
    masked_crops,
)
from ovseg.regions.region_embeddings import RegionEmbeddings, embed_regions
from ovseg.regions.region_scores import (
    EnsembleSettings,
    ProposalScores,
    fuse,
    one_mask_a_class,
    proposal_probabilities,
    region_probabilities,
)
from ovseg.scores.upsample import ScoreMaps
from ovseg.text.cosine import LOGIT_SCALE, cosine_logits, with_no_object

_MEMORY_MEGABYTES = 0.2  # small, so that the cases go through several batches
_STRIP_BYTES = 2**16


def check_visual(report: Report, folder: Path) -> None:
    """The vision tower and its mask prompts, through the loader of published weights."""
    report.use('config')
    report.leave('logit_scale', f'both classifiers have the constant {LOGIT_SCALE:g}')
    own = mask_prompted(report.content).state_dict()
    for name, value in report.content['state_dict'].items():
        ours = own.pop(name.removeprefix('visual.'), torch.empty(0))
        report.compare(f'state_dict.{name}', ours, value.float(), EXACT)
    report.compare('state_dict', sorted(own), [], EXACT)


def check_crops(report: Report, folder: Path) -> None:
    """Boxes, masked crops, and regions of one size."""
    content = report.content
    config, inputs = content['config'], content['inputs']
    report.use('config.region_size', 'config.sub_index', 'inputs')
    report.compare(
        'config.pixel_mean', list(open_clip.OPENAI_DATASET_MEAN), config['pixel_mean'], EXACT
    )
    report.compare(
        'config.pixel_std', list(open_clip.OPENAI_DATASET_STD), config['pixel_std'], EXACT
    )
    size = list(inputs['image'].shape[1:])
    report.compare('config.H', size[0], config['H'], EXACT)
    report.compare('config.W', size[1], config['W'], EXACT)
    for index, case in enumerate(content['cases']):
        _check_crop_case(report, f'cases.{index}', case)


def _check_crop_case(report: Report, name: str, case: Mapping[str, Any]) -> None:
    settings = {
        'threshold': case['mask_thr'],
        'expand_ratio': case['mask_expand_ratio'],
        'matting': case['mask_matting'],
        'size': report.content['config']['region_size'],
    }
    report.use(*(f'{name}.mask_{key}' for key in ('thr', 'expand_ratio', 'matting', 'fill')))
    image, masks = (report.content['inputs'][key] for key in ('image', 'masks'))
    normal = RegionSettings(**settings, fill=case['mask_fill'])
    plain = RegionSettings(
        **settings, fill=normal.fill_colour, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    found = crop_regions(image, masks, normal)
    regions, shown = found.images, found.masks
    tight, valid = mask_boxes(masks, normal.threshold)
    part = _sub_index(report.content['config']['sub_index'])
    ours = {
        'valid': (found.valid, EXACT),
        'boxes_xyxy': (tight[valid].float(), EXACT),
        'crop_xyxy': (found.boxes, EXACT),
        'regions_sub': (regions[part], FEATURES),
        'unnorm_regions_sub': (crop_regions(image, masks, plain).images[part], FEATURES),
        'region_masks_sub': (shown[part], EXACT),
        'regions_mean': (regions.mean((1, 2, 3)), FEATURES),
        'regions_std': (regions.std((1, 2, 3)), FEATURES),
        'regions_abs_sum': (regions.double().abs().sum((1, 2, 3)), FEATURES),
        'region_masks_sum': (shown.double().sum((1, 2, 3)), FEATURES),
        'region0_channel0': (regions[0, 0], FEATURES),
        'region_masks_uint8_first4': (shown[:4].to(torch.uint8), EXACT),
    }
    for key, (value, tolerance) in ours.items():
        if key in case:
            report.compare(f'{name}.{key}', value, case[key], tolerance)
    if 'crops_normalised' in case:
        crops = list(masked_crops(image, masks[valid], found.boxes, normal))
        for key in ('crops_normalised', 'crop_masks'):
            report.compare(f'{name}.{key}', len(crops), len(case[key]), EXACT)
        for row, (crop, mask) in enumerate(crops):
            theirs = case['crops_normalised'][row]
            report.compare(f'{name}.crops_normalised.{row}', crop[None], theirs, FEATURES)
            theirs = case['crop_masks'][row]
            ours_mask = mask.to(torch.uint8).expand_as(theirs)
            report.compare(f'{name}.crop_masks.{row}', ours_mask, theirs, EXACT)


@torch.inference_mode()
def check_forward(report: Report, folder: Path) -> None:
    """Tokens of every block with mask prompts, and embeddings with and without."""
    content, inputs = report.content, report.content['inputs']
    report.use('config', 'inputs', 'text_features_with_non_object')
    tower = mask_prompted(read_visual(folder))
    factor = inputs['upsample']
    images = _enlarged(inputs['regions_small'].float(), factor)
    masks = _enlarged(inputs['region_masks_small'], factor)
    masks[2] = 0
    for y, x in inputs['lone_pixels_region2']:
        masks[2, :, y, x] = 1
    _check_tokens(report, tower, images, masks)
    text, theirs = content['text_features_with_non_object'], content['outputs']
    features = tower(images, masks)
    ours = {
        'features_no_mask': (tower(images), FEATURES),
        'features_mask_prompt': (features, FEATURES),
        'features_mask_prompt_normalised': (
            features / features.norm(dim=-1, keepdim=True),
            FEATURES,
        ),
        'logits_t100': (cosine_logits(features, text), LOGITS),
    }
    for key, (value, tolerance) in ours.items():
        report.compare(f'outputs.{key}', value, theirs[key], tolerance)
    for depth, wanted in theirs['features_by_prompt_depth'].items():
        value = mask_prompted(read_visual(folder), int(depth))(images, masks)
        report.compare(f'outputs.features_by_prompt_depth.{depth}', value, wanted, FEATURES)


def _check_tokens(report: Report, tower: MaskPromptedViT, images: Tensor, masks: Tensor) -> None:
    theirs = report.content['intermediates']
    report.use('intermediates.token_index', 'intermediates.region_index')
    kept = tower.kept_patches(masks)
    patch_mask = theirs['patch_mask']
    ours = kept[..., 0].to(patch_mask.dtype)
    report.compare('intermediates.patch_mask', ours, patch_mask, EXACT)
    part = torch.tensor(theirs['region_index'])[:, None], torch.tensor(theirs['token_index'])
    tokens = tower.embed(images, kept)
    report.compare('intermediates.tok_in', tokens[part], theirs['tok_in'], FEATURES)
    for index, steps in enumerate(tower.run_blocks(tower.ln_pre(tokens), kept)):
        for what, value in zip(('in', 'out'), steps, strict=True):
            key = f'block{index}_{what}'
            report.compare(f'intermediates.{key}', value[part], theirs[key], FEATURES)


@torch.inference_mode()
def check_inference(report: Report, folder: Path) -> None:
    """One image's masks through both classifiers to score maps."""
    content, config = report.content, report.content['config']
    inputs = content['inputs']
    report.use('config', *(f'inputs.{key}' for key in ('image', 'mask_cls_logits', 'mask_logits')))
    report.use(*(f'inputs.{key}' for key in ('class_names', 'non_object_embedding')))
    report.use(*(f'inputs.{key}' for key in ('demo_two_classes', 'demo_two_class_columns')))
    report.use('inputs.text_features_two')
    report.compare('config.temperature', LOGIT_SCALE, config['temperature'], EXACT)
    text = inputs['text_features_with_non_object']
    with_row = with_no_object(text[:-1], inputs['non_object_embedding'])
    report.compare('inputs.text_features_with_non_object', with_row, text, FEATURES)
    case = _Inference(content, mask_prompted(read_visual(folder)))
    theirs = content['intermediates']
    prompted, plain, matted = (
        case.regions(mask_prompts, matting)
        for mask_prompts, matting in ((True, False), (False, False), (True, True))
    )
    report.compare('intermediates.valid', prompted.valid, theirs['valid'], EXACT)
    for key, found in (
        ('clip_logits', prompted),
        ('clip_logits_no_mask_prompt', plain),
        ('clip_logits_matting', matted),
    ):
        logits = cosine_logits(found.embeddings, text)
        report.compare(f'intermediates.{key}', logits, theirs[key], LOGITS)
    probabilities = region_probabilities(cosine_logits(prompted.embeddings, text), len(text) - 1)
    report.compare('intermediates.clip_probs', probabilities, theirs['clip_probs'], FEATURES)
    for key, wanted in content['outputs']['semseg'].items():
        found = plain if key.endswith('no_prompt') else prompted
        ours = case.score_maps(case.fused(key, found, text, inputs['mask_cls_logits']))
        report.compare(f'outputs.semseg.{key}', ours, wanted, FEATURES)
    for key, wanted in content['outputs']['demo'].items():
        report.compare(f'outputs.demo.{key}', case.demo(key, prompted), wanted, FEATURES)


class _Inference:
    """The one image of an inference case, and what the package makes of its masks."""

    def __init__(self, content: Mapping[str, Any], tower: MaskPromptedViT) -> None:
        self.inputs, self.config, self.tower = content['inputs'], content['config'], tower
        self.size = tuple(self.inputs['image'].shape[1:])
        logits = self.inputs['mask_logits']
        self.maps: ScoreMaps = mask_maps(logits, tuple(logits.shape[1:]), self.size)

    def regions(self, mask_prompts: bool, matting: bool) -> RegionEmbeddings:
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
        self, key: str, found: RegionEmbeddings, text: Tensor, of_proposals: Tensor
    ) -> ProposalScores:
        """Scores as the name of a result says: ``w0.7...``, or ``no_ensemble``."""
        weight = re.match(r'w(\d+\.?\d*)', key)
        settings = EnsembleSettings(weight is not None, float(weight[1]) if weight else 0.0)
        first = proposal_probabilities(of_proposals)
        second = region_probabilities(cosine_logits(found.embeddings, text), first.shape[1])
        return fuse(first, second, found.valid, settings)

    def score_maps(self, fused: ProposalScores) -> Tensor:
        maps = select_queries(self.maps, fused.queries)
        return segment_masks(maps, fused.scores, self.size, _STRIP_BYTES, with_scores=True)[1]

    def demo(self, key: str, found: RegionEmbeddings) -> Tensor:
        """Score maps of the masks that some class picks, by the demo's rule."""
        columns, picking = slice(None), None
        text = self.inputs['text_features_with_non_object'][:-1]
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
