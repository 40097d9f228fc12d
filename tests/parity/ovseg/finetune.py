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
from ovseg.training import MaskAdaptation
from parity.golden import as_float, read
from parity.ovseg.clip import FEATURES, model_config, read_visual, text_model
from parity.report import EXACT, Case, Tolerance

LOSSES = Tolerance(rtol=1e-5)
# Sums over all tokens in another order.
GRADIENTS = Tolerance(atol=2e-5, rtol=1e-3)
RATES = Tolerance(atol=1e-12, rtol=1e-6)
_PROMPTS = 'visual.mask_embedding'
# Of views every eighth pixel is stored, of prompts' gradients every ninth patch and eighth value.
_VIEW_STEP = 8
_PROMPT_STEPS = (9, 8)


def check_finetune(file: Case, folder: Path) -> None:
    """Both trainings on one batch, and the schedule of the learning rate."""
    config, state, prompts = _golden_clip(folder)
    inputs = file.inner('inputs')
    with _files(inputs['images_uint8_hwc'], inputs['captions'], state) as (pairs, clip_file):
        batch = _read_batch(pairs, config['image_resolution'])
        _check_batch(file, batch)
        clip = {'model': model_config(config), 'pretrained': str(clip_file)}
        tuning = MaskAdaptation(clip, 'mask_prompts', prompt_depth=config['mask_prompt_depth'])
        tuning.clip.visual.mask_embedding.data.copy_(prompts)
        outputs = file.inner('outputs')
        _check_training(outputs.inner('mpt'), tuning, batch)
        _check_training(outputs.inner('ft'), MaskAdaptation(clip, 'image_tower'), batch)
    tokens = SimpleTokenizer(context_length=config['context_length'])(inputs['captions'])
    inputs.compare(EXACT, token_ids=tokens)
    _check_schedule(file.inner('cosine_schedule'))


def _golden_clip(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], Tensor]:
    """Sizes of the golden CLIP, the weights of both its towers, and its mask prompts."""
    visual = read_visual(folder)
    state = text_model(read(folder / 'text_features.pt'))[0].state_dict()
    tower = as_float(visual['state_dict'])
    prompts = tower.pop(_PROMPTS)
    state.update(tower, logit_scale=torch.tensor(visual['logit_scale']))
    return visual['config'], state, prompts


@contextmanager
def _files(
    images: list[Tensor], captions: list[str], state: dict[str, Tensor]
) -> Iterator[tuple[Path, Path]]:
    """The pairs as published files, and the CLIP without mask prompts as a weight file."""
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


def _check_batch(file: Case, batch: dict[str, Any]) -> None:
    file.inner('inputs').compare(EXACT, captions=batch['caption'])
    mean, std = (
        torch.tensor(value).view(3, 1, 1) for value in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    views = (torch.stack(batch['inputs']) / 255 - mean) / std
    masks = torch.stack(batch['masks'])[:, 0].to(torch.uint8)
    intermediates = file.inner('intermediates')
    intermediates.compare(FEATURES, resized_sub=views[..., ::_VIEW_STEP, ::_VIEW_STEP])
    intermediates.compare(EXACT, mask_224=masks)


def _check_training(case: Case, model: MaskAdaptation, batch: dict[str, Any]) -> None:
    with torch.no_grad():
        regions, nouns = model(**batch, mode='tensor')
    case.compare(FEATURES, image_features=regions, text_features=nouns)
    step = model(**batch)
    step['loss'].backward()
    case.compare(LOSSES, loss=step['loss'].detach(), logit_scale=step['temperature'])
    gradients = {
        key: value.grad
        for key, value in model.clip.named_parameters()
        if value.requires_grad and value.grad is not None
    }
    case.compare_as('trainable', sorted(gradients), sorted(case.wanted('trainable')))
    if 'grad_norms' in case:
        norms, none = case.inner('grad_norms'), torch.tensor(0.0)
        norms.compare(GRADIENTS, {key: gradients.get(key, none).norm() for key in norms})
    if 'grad_mask_embedding_norm' in case:
        prompts = gradients[_PROMPTS]
        case.compare(
            GRADIENTS,
            grad_mask_embedding_norm=prompts.norm(),
            grad_mask_embedding_sub=prompts[:, :: _PROMPT_STEPS[0], :: _PROMPT_STEPS[1]],
        )


def _check_schedule(case: Case) -> None:
    end = case['total']
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case['base_lr'])
    schedule = WarmupCosineLR(optimizer, warmup=case['warmup'], end=end)
    rates = []
    for _ in range(end):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    ours = torch.tensor([rates[step] for step in case['steps']], dtype=torch.float64)
    case.compare(RATES, lr=ours)
