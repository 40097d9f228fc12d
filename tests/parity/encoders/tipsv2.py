"""Parity with TIPSv2: both towers, and its zero-shot notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.encoders import build_dense_encoder
from ovseg.images import Images
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import Classifier
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import Case, Tolerance

# Pixels whose two best classes are nearly as good.
_LABELS = Tolerance(share=0.01)
_STRIPS = MemoryBudget(2**-5)  # small, so that the cases go through several strips
_ENCODER = {
    'last_block': 'maskclip',
    'position_resize': 'antialias_bilinear',
    'padding': 'stretch',
}


def tipsv2_size(config: Case) -> dict[str, Any]:
    """Fields of :class:`~ovseg.encoders.tipsv2.TIPSv2Size` by the golden file's sizes."""
    vision, text = config['vision_config'], config['text_config']
    hidden = int(vision['hidden_size'] * vision['mlp_ratio'])
    if vision['use_swiglu_ffn']:
        # Two thirds, rounded up to a multiple of 8: three matrices are as large as two were.
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return {
        'width': vision['hidden_size'],
        'layers': vision['num_hidden_layers'],
        'heads': vision['num_attention_heads'],
        'hidden': hidden,
        'gated': vision['use_swiglu_ffn'],
        'image_size': vision['image_size'],
        'patch': vision['patch_size'],
        'text_layers': text['num_hidden_layers'],
        'text_hidden': text['intermediate_size'],
        'text_heads': text['num_attention_heads'],
        'vocabulary': text['vocab_size'],
    }


@torch.inference_mode()
def check_tipsv2(file: Case, folder: Path) -> None:
    """A file as published: the plain tower, values, sentences, and labels in windows."""
    file.use('meta')
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('expected')
    sides = {name: (config[name],) * 2 for name in ('window', 'stride')}
    with saved(tipsv2=file['state']) as files:
        model = TrainingFreeSegmentor(
            clip={
                'type': 'TIPSv2',
                'model': tipsv2_size(config),
                'pretrained': files['tipsv2'],
            },
            encoder=_ENCODER,
            text={'cache_dir': None, 'logit_scale': 1.0},
            test_cfg={
                'mode': 'slide',
                'crop_size': sides['window'],
                'stride': sides['stride'],
                'average': 'probabilities',
            },
        )
    rows = _check_text(model, inputs, wanted)
    _check_maps(model, inputs, wanted, rows)
    classifier = Classifier(rows, torch.arange(len(rows)), len(rows), logit_scale=1.0)
    image = inputs['slide'][None]
    encoding = model.encode(Images(image))[0]
    size = tuple(image.shape[2:])
    shares = model.scores(encoding, classifier, size, _STRIPS).whole(_STRIPS)
    wanted.compare(of_largest, {'slide_probability': shares})
    labels = model.segment(encoding, tuple(config['target']), classifier, budget=_STRIPS).labels
    wanted.compare(_LABELS, label=labels)


def _check_text(model: TrainingFreeSegmentor, inputs: Case, wanted: Case) -> Tensor:
    ids, mask = inputs['token_ids'], inputs['token_mask']
    # What tells the filling is that it is 0; a mask of its own would be of no use.
    wanted.compare_as('token_mask', (ids != 0).to(mask.dtype), mask)
    raw = torch.stack([model.clip.encode_text(sentences) for sentences in ids])
    rows = F.normalize(F.normalize(raw, dim=-1).mean(1), dim=-1)
    wanted.compare(of_largest, {'text_raw': raw, 'text_rows': rows})
    return rows


def _check_maps(model: TrainingFreeSegmentor, inputs: Case, wanted: Case, rows: Tensor) -> None:
    plain = build_dense_encoder(model.clip.visual, **{**_ENCODER, 'last_block': 'vanilla'})
    for name in ('square', 'wide'):
        image = inputs[name]
        tokens, grid, _ = plain.trunk(image)
        leaving = plain.tower.norm(plain.run(plain.tower.blocks[-1], tokens, grid).tokens)
        values = model.encoder(image).patch
        wanted.compare(
            of_largest,
            {
                f'{name}_cls1': leaving[:, 0],
                f'{name}_cls2': leaving[:, 1],
                f'{name}_plain': leaving[:, 2:],
                f'{name}_value': values.movedim(1, -1),
            },
        )
    stretched = model.encoder(inputs['odd']).patch
    wanted.compare(
        of_largest,
        {
            'odd_value': stretched.movedim(1, -1),
            'odd_cosine': torch.einsum('qd,dhw->qhw', rows, F.normalize(stretched[0], dim=0)),
        },
    )
