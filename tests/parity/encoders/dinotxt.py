"""Parity with dino.txt over DINOv3, in both readings of its patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.images import Images
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import Classifier
from parity.encoders.dinov3 import dinov3_model
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import Case, Tolerance

# Pixels whose two best classes are nearly as good.
_LABELS = Tolerance(share=0.01)
_STRIPS = MemoryBudget(2**-5)  # small, so that the cases go through several strips


def dinotxt_size(config: Case) -> dict[str, Any]:
    """Fields of :class:`~ovseg.encoders.dinotxt.DINOTxtSize` by the golden file's sizes."""
    text = config['text']
    return {
        'backbone': dinov3_model(config['backbone']),
        'head_blocks': config['head_blocks'],
        'text_width': text['dim'],
        'text_layers': text['num_layers'],
        'text_heads': text['num_heads'],
        'context_length': text['context_length'],
        'vocabulary': text['vocab_size'],
    }


@torch.inference_mode()
def check_dinotxt(file: Case, folder: Path) -> None:
    """One file with all parts: the head's patches and the backbone's, sentences, and labels."""
    file.use('meta')
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('expected')
    with saved(dinotxt=file['state']) as files:
        models = {
            reading: TrainingFreeSegmentor(
                clip={
                    'type': 'DINOTxt',
                    'model': dinotxt_size(config),
                    'pretrained': files['dinotxt'],
                    'reading': reading,
                },
                encoder={'last_block': 'vanilla', 'padding': 'stretch'},
                text={'cache_dir': None, 'logit_scale': 1.0},
                test_cfg={
                    'mode': 'slide',
                    'crop_size': config['window'],
                    'stride': config['stride'],
                    'average': 'probabilities',
                },
            )
            for reading in ('head', 'backbone')
        }
    model = models['head']
    wanted.compare_as('embed_dim', 2 * model.encoder.embed_dim, config['embed_dim'])
    ids = inputs['token_ids']
    rows = torch.stack([model.clip.encode_text(sentences) for sentences in ids])
    rows = F.normalize(F.normalize(rows, dim=-1).mean(1), dim=-1)
    raw = torch.stack([model.clip.text(sentences) for sentences in ids])
    wanted.compare(of_largest, {'text_raw': raw, 'text_rows': rows})
    _check_maps(models, inputs, wanted)
    classifier = Classifier(rows, torch.arange(len(rows)), len(rows), logit_scale=1.0)
    image = inputs['slide'][None]
    encodings = {reading: each.encode(Images(image))[0] for reading, each in models.items()}
    names = {'head': 'slide_probability', 'backbone': 'notebook_slide_probability'}
    size = tuple(image.shape[2:])
    shares: dict[str, Tensor] = {
        names[reading]: each.scores(encodings[reading], classifier, size, _STRIPS).whole(_STRIPS)
        for reading, each in models.items()
    }
    wanted.compare(of_largest, shares)
    target = tuple(config['target'])
    labels = model.segment(encodings['head'], target, classifier, budget=_STRIPS).labels
    wanted.compare(_LABELS, label=labels)


def _check_maps(models: dict[str, TrainingFreeSegmentor], inputs: Case, wanted: Case) -> None:
    for reading, before in (('head', ''), ('backbone', 'backbone_')):
        encoder = models[reading].encoder
        wanted.compare(
            of_largest,
            {
                f'{before}patch': encoder(inputs['image']).patch.movedim(1, -1),
                f'odd_{before}patch': encoder(inputs['odd']).patch.movedim(1, -1),
            },
        )
    encoder = models['head'].encoder
    tokens, grid, _ = encoder.trunk(inputs['image'])
    leaving = encoder.run(encoder.tower.blocks[-1], tokens, grid).tokens
    wanted.compare(of_largest, global_embedding=encoder.tower.pool_both(leaving))
