"""Parity with RADSeg over C-RADIO: each of its stages, without SAM's refinement."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.encoders.radio import load_radio
from ovseg.images import Images
from ovseg.images.windows import cut_windows
from ovseg.refiners import ScoreSoftmax
from ovseg.scores.row_map import WindowMaps
from ovseg.segmentors import RADSeg
from ovseg.text import Classifier
from parity.encoders.radio import radio_model
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import EXACT, Case, Tolerance

# Pixels whose two best classes are nearly as good.
_LABELS = Tolerance(share=0.01)
_STRIPS = MemoryBudget(2**-5)  # small, so that the cases go through several strips
_CORNER = 24
# No sentence is encoded: rows are given.
_NO_WORDS = {
    'context_length': 4,
    'vocab_size': 49408,  # CLIP's own, whose tokenizer needs no file
    **{'width': 8, 'heads': 1, 'layers': 1, 'no_causal_mask': True},
}


def _files(state: dict[str, Tensor]) -> dict[str, Any]:
    """The encoder and the heads in the two files in which they are published."""
    heads = {
        f'_heads.siglip2.{name.removeprefix("head_mlp.")}': value
        for name, value in state.items()
        if name.startswith('head_mlp.')
    }
    return {
        'radio': {name: value for name, value in state.items() if not name.startswith('head_mlp.')},
        'heads': {
            'state_dict': heads,
            'args': Namespace(teachers=[{'name': 'clip'}, {'name': 'siglip2'}]),
        },
    }


def _model(config: Case, wanted: Case, state: dict[str, Tensor]) -> RADSeg:
    head = config['head_mlp']
    with saved(**_files(state)) as files:
        summary = load_radio(radio_model(config), files['radio']).summary
        wanted.compare_as('summary_idxs', summary, config['summary_idxs'])
        model = RADSeg(
            clip={
                'type': 'RADIO',
                'model': radio_model(config),
                'pretrained': files['radio'],
                'adaptors': files['heads'],
                'text': {
                    'model': {'embed_dim': head['output'], 'text_cfg': _NO_WORDS},
                    'pretrained': 'random',
                },
            },
            encoder={
                'last_block': {
                    'preset': 'radseg',
                    'settings': {'sharpness': config['scra_scaling']},
                }
            },
            aggregation={'gamma': config['scga_scaling'], 'megabytes': 1e-3},
            denoise_below=config['prompt_denoising_thresh'],
            refiners=[{'type': 'ScoreSoftmax', 'scale': config['logit_scale']}],
            text={'cache_dir': None},
            test_cfg={
                'mode': 'splice',
                'crop_size': config['crop'],
                'stride': config['stride'],
                'upsampling': 'direct',
            },
        )
    first = model.clip.visual.head.fc1
    sizes = (first.in_features, first.out_features, len(model.clip.visual.head.blocks))
    assert sizes == (head['input'], head['hidden'], head['num_inner'])
    return model


@torch.inference_mode()
def check_radseg(file: Case, folder: Path) -> None:
    """Files as published, from the image to the labels."""
    file.use('meta')
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('expected')
    model = _model(config, wanted, file['state'])
    encoder = model.encoder
    image = (inputs['image'] - model.pixel_mean) / model.pixel_std
    network, boxes = model.windows(image)
    patch = encoder.stride[0]
    wanted.compare(
        EXACT,
        network_size=torch.tensor(network.shape[2:]),
        window_boxes=torch.tensor(boxes) // patch,
    )
    corner = (network * model.pixel_std + model.pixel_mean)[..., :_CORNER, :_CORNER]
    windows = cut_windows(network, boxes)
    entering, grid, _ = encoder.trunk(windows[:1])
    leaving = encoder.run(encoder.tower.blocks[-1], entering, grid, encoder.last_block).tokens
    spliced = model.spliced(image, 2)
    aggregated = model.aggregated(spliced)
    encoding = model.encode(Images(image))[0]
    raw = F.normalize(inputs['text_raw'], dim=-1).mean(1)
    rows = F.normalize(raw, dim=-1)
    classifier = Classifier(rows, torch.arange(len(rows)), len(rows), config['logit_scale'])
    size = tuple(config['original_size'])
    coarse = ScoreSoftmax(config['logit_scale'])(
        classifier.row_scores(encoding.features.patch), encoding.features, classifier
    )
    maps = model.scores(encoding, classifier, size, _STRIPS)
    assert isinstance(maps.source, WindowMaps)
    wanted.compare(
        of_largest,
        {
            'network_image_corner': corner,
            'tokens_before_last_block': entering,
            'tokens_after_last_block': leaving,
            'window_features': encoder.leaving(windows[:2]),
            'spliced': spliced,
            'aggregated': aggregated,
            'text_space': encoding.features.patch,
            'text_rows': raw,
            'probability': coarse,
            'denoised_probability': maps.whole(_STRIPS)[None],
        },
    )
    labels = model.segment(encoding, size, classifier, budget=_STRIPS).labels
    wanted.compare(_LABELS, label=labels[None, None])
