"""The check of OVSeg's training of CLIP, on a case made here by plain torch and open_clip."""

from __future__ import annotations

import math

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from parity import check_path
from parity.ovseg.clip import model_config

CONFIG = {
    'embed_dim': 16,
    'image_resolution': 64,
    'vision_layers': 3,
    'vision_width': 64,
    'vision_heads': 1,
    'vision_patch_size': 16,
    'mask_prompt_depth': 2,
    'grid': 4,
    'context_length': 77,
    'vocab_size': 49408,
    'text_width': 64,
    'text_heads': 1,
    'text_layers': 1,
    'quick_gelu': True,
}
BLANK = (124, 116, 103)
CAPTIONS = ['person', 'dining table', 'sky']


def prompted(visual, prompts, images, masks):
    """OVSeg's forward, step by step."""
    kept = torch.ceil(F.avg_pool2d(masks, 16)).flatten(2).transpose(1, 2)
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    tokens = tokens * kept + prompts[0] * (1 - kept)
    first = visual.class_embedding.expand(len(images), 1, -1)
    tokens = visual.ln_pre(torch.cat([first, tokens], 1) + visual.positional_embedding)
    for index, block in enumerate(visual.transformer.resblocks, start=1):
        tokens = block(tokens)
        if index < len(prompts):
            patches = tokens[:, 1:] * kept + prompts[index] * (1 - kept)
            tokens = torch.cat([tokens[:, :1], patches], 1)
    return visual.ln_post(tokens[:, 0]) @ visual.proj


def outputs(clip, regions, nouns, learning):
    scale = clip.logit_scale.exp()
    loss = open_clip.ClipLoss()(regions, nouns, scale)
    loss.backward()
    return {
        'loss': loss.detach(),
        'image_features': regions.detach(),
        'text_features': nouns.detach(),
        'trainable': sorted(learning),
    }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ovseg')
    torch.manual_seed(0)
    clip = open_clip.CLIP(**model_config(CONFIG))
    with torch.no_grad():
        for value in clip.parameters():
            value.copy_(value.half().float())
    clip.logit_scale.data.fill_(4.60546875)
    prompts = torch.nn.Parameter((torch.randn(2, 16, 64) * 0.1).half().float())
    clip.requires_grad_(False)
    tokens = open_clip.SimpleTokenizer()(CAPTIONS)
    rows = tokens.unique()
    state = clip.state_dict()
    visual = {key: value.half() for key, value in state.items() if key.startswith('visual.')}
    visual['visual.mask_embedding'] = prompts.detach().half()
    torch.save(
        {'config': CONFIG, 'state_dict': visual, 'logit_scale': 4.60546875},
        folder / 'clip_visual.pt',
    )
    text = {
        key: value.half()
        for key, value in state.items()
        if not key.startswith(('visual.', 'token_embedding', 'logit_scale'))
    }
    torch.save(
        {
            'config': CONFIG,
            'state_dict': text,
            'token_embedding_row_index': rows,
            'token_embedding_rows': state['token_embedding.weight'][rows].half(),
        },
        folder / 'text_features.pt',
    )
    images, views, masks = regions()
    nouns = clip.encode_text(tokens, normalize=True).detach()
    clip.logit_scale.requires_grad_(True)
    features = F.normalize(prompted(clip.visual, prompts, views, masks[:, None].float()), dim=-1)
    mpt = outputs(clip, features, nouns, ['logit_scale', 'visual.mask_embedding'])
    mpt['logit_scale'] = clip.logit_scale.exp().detach()
    mpt['grad_mask_embedding_norm'] = prompts.grad.norm()
    mpt['grad_mask_embedding_sub'] = prompts.grad[:, ::9, ::8].clone()
    clip.logit_scale.grad = None
    clip.visual.requires_grad_(True)
    learning = {name: value for name, value in clip.named_parameters() if value.requires_grad}
    ft = outputs(clip, F.normalize(clip.visual(views), dim=-1), nouns, list(learning))
    ft['grad_norms'] = {name: value.grad.norm() for name, value in learning.items()}
    torch.save(
        {
            'inputs': {'images_uint8_hwc': images, 'captions': CAPTIONS, 'token_ids': tokens},
            'intermediates': {
                'resized_sub': views[..., ::8, ::8].clone(),
                'mask_224': masks.to(torch.uint8),
            },
            'outputs': {'mpt': mpt, 'ft': ft},
            'cosine_schedule': {
                'base_lr': 0.05,
                'warmup': 2,
                'total': 10,
                'steps': [0, 1, 2, 9],
                'lr': [0.025, 0.05, 0.05, 0.025 * (1 + math.cos(math.pi * 7 / 8))],
            },
        },
        folder / 'clip_finetune.pt',
    )
    return folder


def regions():
    """Images, views as CLIP sees them, and masks by the blank colour."""
    random = np.random.default_rng(0)
    mean, std = np.array(open_clip.OPENAI_DATASET_MEAN), np.array(open_clip.OPENAI_DATASET_STD)
    images, views, masks = [], [], []
    for number in range(3):
        height, width = 60 + 10 * number, 80 - 7 * number
        image = np.full((height, width, 3), BLANK, np.uint8)
        image[10:40, 20 : 40 + number] = random.integers(0, 255, (30, 20 + number, 3))
        images.append(torch.from_numpy(image))
        short = min(height, width)
        size = (int(64 * width / short), int(64 * height / short))
        resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
        left, top = (round((side - 64) / 2) for side in size)
        pixels = np.array(resized.crop((left, top, left + 64, top + 64)))
        masks.append(torch.from_numpy((pixels != np.array(BLANK, np.uint8)).any(-1)))
        scaled = torch.from_numpy((pixels / 255 - mean) / std).float()
        views.append(scaled.permute(2, 0, 1))
    return images, torch.stack(views), torch.stack(masks)


def test_a_plain_computation_agrees_in_every_quantity(folder):
    (report,) = check_path(folder / 'clip_finetune.pt')
    assert report.passed, report.text()
    assert len(report.lines) > 50


@pytest.mark.parametrize(
    'name',
    [
        'intermediates.mask_224',
        'outputs.mpt.loss',
        'outputs.mpt.grad_mask_embedding_sub',
        'outputs.ft.grad_norms.visual.proj',
        'cosine_schedule.lr',
    ],
)
def test_a_changed_quantity_fails_and_is_named(folder, tmp_path, name):
    content = torch.load(folder / 'clip_finetune.pt', weights_only=True)
    value = content
    for key in name.replace('visual.proj', 'visual_proj').split('.'):
        value = value[key.replace('_proj', '.proj')]
    if isinstance(value, list):
        value[1] *= 1.01
    else:
        value += 1
    for file in ('clip_visual.pt', 'text_features.pt'):
        (tmp_path / file).symlink_to(folder / file)
    torch.save(content, tmp_path / 'clip_finetune.pt')
    (report,) = check_path(tmp_path / 'clip_finetune.pt')
    assert [line.name for line in report.lines if line.status != 'ok'] == [name]


def test_missing_weights_are_named(folder, tmp_path):
    (tmp_path / 'clip_finetune.pt').symlink_to(folder / 'clip_finetune.pt')
    with pytest.raises(FileNotFoundError, match='clip_visual.pt'):
        list(check_path(tmp_path / 'clip_finetune.pt'))
