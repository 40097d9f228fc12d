"""Parity with OVSeg's training of CLIP on masked regions: views, masks, losses, gradients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, SimpleTokenizer
from PIL import Image
from torch import Tensor

from ovseg.datasets import MaskCaptionPairs
from ovseg.datasets.pair_files import Pair, write_pairs
from ovseg.engine.warmup_cosine import WarmupCosineLR
from ovseg.parity.ovseg_clip import FEATURES, model_config, read_visual, text_model
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.training import MaskAdaptation

LOSSES = Tolerance(rtol=1e-5)
# Sums over all tokens in another order.
GRADIENTS = Tolerance(atol=2e-5, rtol=1e-3)
RATES = Tolerance(atol=1e-12, rtol=1e-6)
_PROMPTS = 'visual.mask_embedding'
# Of views every eighth pixel is stored, of prompts' gradients every ninth patch and eighth value.
_VIEW_STEP = 8
_PROMPT_STEPS = (9, 8)


def check_finetune(report: Report, folder: Path) -> None:
    """Both trainings on one batch, and the schedule of the learning rate."""
    content = report.content
    config, state, prompts = _golden_clip(folder)
    with _files(content, state) as (pairs, clip_file):
        batch = _read_batch(pairs, config['image_resolution'])
        _check_batch(report, batch)
        clip = {'model': model_config(config), 'pretrained': str(clip_file)}
        tuning = MaskAdaptation(clip, 'mask_prompts', prompt_depth=config['mask_prompt_depth'])
        tuning.clip.visual.mask_embedding.data.copy_(prompts)
        _check_training(report, 'mpt', tuning, batch)
        _check_training(report, 'ft', MaskAdaptation(clip, 'image_tower'), batch)
    inputs = content['inputs']
    tokens = SimpleTokenizer(context_length=config['context_length'])(inputs['captions'])
    report.compare('inputs.token_ids', tokens, inputs['token_ids'], EXACT)
    _check_schedule(report)


def _golden_clip(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], Tensor]:
    """Sizes of the golden CLIP, the weights of both its towers, and its mask prompts."""
    visual = read_visual(folder)
    text = torch.load(folder / 'text_features.pt', map_location='cpu', weights_only=True)
    state = text_model(text)[0].state_dict()
    tower = {name: value.float() for name, value in visual['state_dict'].items()}
    prompts = tower.pop(_PROMPTS)
    state.update(tower, logit_scale=torch.tensor(visual['logit_scale']))
    return visual['config'], state, prompts


@contextmanager
def _files(content: dict[str, Any], state: dict[str, Tensor]) -> Iterator[tuple[Path, Path]]:
    """The pairs as published files, and the CLIP without mask prompts as a weight file."""
    images, captions = content['inputs']['images_uint8_hwc'], content['inputs']['captions']
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, image in enumerate(images):
            Image.fromarray(image.numpy()).save(folder / f'{number}.png')
        table = folder / 'pairs.csv'
        write_pairs(table, [Pair(f'{n}.png', caption) for n, caption in enumerate(captions)])
        torch.save(state, folder / 'clip.pt')
        yield table, folder / 'clip.pt'


def _read_batch(pairs: Path, size: int) -> dict[str, Any]:
    data = MaskCaptionPairs(pairs, mask_from='colour', size=size, augment=False)
    samples = [data[index] for index in range(len(data))]
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def _check_batch(report: Report, batch: dict[str, Any]) -> None:
    content = report.content
    report.use('inputs.images_uint8_hwc')
    report.compare('inputs.captions', batch['caption'], content['inputs']['captions'], EXACT)
    mean, std = (
        torch.tensor(value).view(3, 1, 1) for value in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    views = (torch.stack(batch['inputs']) / 255 - mean) / std
    wanted = content['intermediates']
    sub = views[..., ::_VIEW_STEP, ::_VIEW_STEP]
    report.compare('intermediates.resized_sub', sub, wanted['resized_sub'], FEATURES)
    masks = torch.stack(batch['masks'])[:, 0].to(torch.uint8)
    report.compare('intermediates.mask_224', masks, wanted['mask_224'], EXACT)


def _check_training(
    report: Report, name: str, model: MaskAdaptation, batch: dict[str, Any]
) -> None:
    wanted, path = report.content['outputs'][name], f'outputs.{name}'
    with torch.no_grad():
        regions, nouns = model(**batch, mode='tensor')
    report.compare(f'{path}.image_features', regions, wanted['image_features'], FEATURES)
    report.compare(f'{path}.text_features', nouns, wanted['text_features'], FEATURES)
    step = model(**batch)
    step['loss'].backward()
    report.compare(f'{path}.loss', step['loss'].detach(), wanted['loss'], LOSSES)
    gradients = {
        key: value.grad
        for key, value in model.clip.named_parameters()
        if value.requires_grad and value.grad is not None
    }
    report.compare(f'{path}.trainable', sorted(gradients), sorted(wanted['trainable']), EXACT)
    if 'logit_scale' in wanted:
        report.compare(f'{path}.logit_scale', step['temperature'], wanted['logit_scale'], LOSSES)
    for key, value in wanted.get('grad_norms', {}).items():
        norm = gradients[key].norm() if key in gradients else torch.tensor(0.0)
        report.compare(f'{path}.grad_norms.{key}', norm, value, GRADIENTS)
    if 'grad_mask_embedding_norm' in wanted:
        prompts = gradients[_PROMPTS]
        norm = f'{path}.grad_mask_embedding_norm'
        report.compare(norm, prompts.norm(), wanted['grad_mask_embedding_norm'], GRADIENTS)
        sub = prompts[:, :: _PROMPT_STEPS[0], :: _PROMPT_STEPS[1]]
        key = 'grad_mask_embedding_sub'
        report.compare(f'{path}.{key}', sub, wanted[key], GRADIENTS)


def _check_schedule(report: Report) -> None:
    wanted = report.content['cosine_schedule']
    report.use(*(f'cosine_schedule.{name}' for name in ('base_lr', 'warmup', 'total', 'steps')))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=wanted['base_lr'])
    schedule = WarmupCosineLR(optimizer, warmup=wanted['warmup'], end=wanted['total'])
    rates = []
    for _ in range(wanted['total']):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    ours = torch.tensor([rates[step] for step in wanted['steps']], dtype=torch.float64)
    theirs = torch.tensor(wanted['lr'], dtype=torch.float64)
    report.compare('cosine_schedule.lr', ours, theirs, RATES)
