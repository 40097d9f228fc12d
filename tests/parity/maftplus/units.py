"""Parity with FC-CLIP's and MAFT+'s single parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import SinePositionalEncoding
from mmengine.structures import InstanceData

from ovseg.encoders.fcclip_format import from_fcclip
from ovseg.encoders.mask_pooling import pool_in_masks
from ovseg.text.cosine import cosine_logits
from ovseg.training.heads.masked_attention_head import LARGEST_SCALE
from ovseg.training.heads.text_transfer import TextTransfer
from ovseg.training.losses.collaborative import mask_aware_loss, representation_compensation
from ovseg.weight_files import load_strictly
from parity.golden import as_float
from parity.maftplus.model import LOGITS, classifier_of
from parity.report import EXACT, Case, Tolerance

_LOSSES = Tolerance(rtol=1e-5, atol=1e-7)
_SMALL = Tolerance(atol=1e-5, rtol=1e-4)


def check_units(file: Case, folder: Path) -> None:
    """Each part, of inputs that the file gives."""
    for form in ('semantic', 'panoptic'):
        _check_transfer(file.inner(f'cdt_{form}'), form)
    for case in file.cases('representation_compensation'):
        _check_compensation(case)
    _check_ranking(file.inner('mask_aware_loss'))
    _check_pooling(file.inner('mask_pooling'))
    _check_logits(file.inner('classification_logits'))
    position = file.inner('position_encoding')
    encoding = SinePositionalEncoding(position['num_feats'], normalize=True)
    position.compare(_SMALL, out=encoding(torch.zeros(1, *position['hw'], dtype=torch.bool)))
    _check_attention(file.inner('msdeform_attn'))


@torch.no_grad()
def _check_transfer(case: Case, form: Any) -> None:
    fresh = TextTransfer(case['embed_dim'], case['nhead'], form)
    rows, image = case['text'], case['image_feature']
    if 'mlp_abs_sum_at_init' in case:
        sums = [float(each.abs().sum()) for each in (fresh.mlp.weight, fresh.mlp.bias)]
        case.compare(EXACT, mlp_abs_sum_at_init=sums)
        moved, wanted = fresh(rows, image), rows + fresh.norm.bias
        same = torch.allclose(moved, wanted.expand_as(moved), atol=1e-6)
        case.compare(EXACT, output_at_init_equals_text_plus_norm_bias=same)
    published = {f'cdt.{key}': value for key, value in as_float(case['state_dict']).items()}
    # The prefix of a whole model tells whose format it is.
    named = from_fcclip({**published, 'backbone_t.': rows})
    own = {key.removeprefix('transfer.'): value for key, value in named.items()}
    load_strictly(fresh, own, 'units.pt')
    moved = fresh(rows, image)
    case.compare(LOGITS, output=moved, norm_of_rows=moved.norm(dim=-1))


def _check_compensation(case: Case) -> None:
    student = case['student'].clone().requires_grad_()
    loss = representation_compensation(student, case['teacher'])
    loss.backward()
    case.compare(_LOSSES, loss=loss.detach())
    case.compare(Tolerance(atol=1e-7, rtol=1e-4), grad_student=student.grad)


def _check_ranking(case: Case) -> None:
    # The column of void is the last one, as the model drops it.
    logits = case['out_vocab_logits'].clone().requires_grad_()
    targets = [
        InstanceData(labels=labels, masks=masks.long())
        for labels, masks in zip(case['labels'], case['masks'], strict=True)
    ]
    loss = mask_aware_loss(logits[..., :-1], case['pred_masks'], targets)
    loss.backward()
    case.compare(_LOSSES, loss=loss.detach())
    case.compare(Tolerance(atol=1e-7, rtol=1e-4), grad_logits=logits.grad)


def _check_pooling(case: Case) -> None:
    for kind in ('other_size', 'same_size'):
        case.compare(_SMALL, {f'out_{kind}': pool_in_masks(case['x'], case[f'mask_{kind}'])})


def _check_logits(case: Case) -> None:
    """Void is the last class of the file's texts: one more row."""
    features, counts = case['x'], [*case['num_synonyms'], 1]

    def logits(rows: Any, scale: float) -> Any:
        found = cosine_logits(features, rows, min(torch.tensor(scale).exp(), LARGEST_SCALE))
        groups = classifier_of(rows if rows.ndim == 2 else rows[0], counts).groups
        return torch.stack([groups.class_scores(each) for each in found])

    case.compare(
        LOGITS,
        out_2d_clamped=logits(case['text_2d'], case['scale_log_clamped']),
        out_2d=logits(case['text_2d'], case['scale_log']),
    )
    found = torch.cat(
        [
            cosine_logits(each[None], rows, torch.tensor(case['scale_log']).exp())
            for each, rows in zip(features, case['text_3d'], strict=True)
        ]
    )
    groups = classifier_of(case['text_2d'], counts).groups
    case.compare(LOGITS, out_3d=torch.stack([groups.class_scores(each) for each in found]))


@torch.no_grad()
def _check_attention(case: Case) -> None:
    attention = MultiScaleDeformableAttention(
        case['d_model'],
        case['n_heads'],
        case['n_levels'],
        case['n_points'],
        dropout=0.0,
        batch_first=True,
    ).eval()
    load_strictly(attention, as_float(case['state_dict']), 'units.pt')
    shapes = case['spatial_shapes']
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    query = case['query']
    output = attention(
        query,
        value=case['value'],
        identity=torch.zeros_like(query),
        reference_points=case['reference_points'],
        spatial_shapes=shapes,
        level_start_index=starts,
    )
    case.compare(_SMALL, output=output)
