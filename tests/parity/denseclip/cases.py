"""What DenseCLIP's golden cases share: weights, gradients and their norms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.engine.checkpoint import load_state_strict
from parity.golden import read, token_table
from parity.report import EXACT, Allowed, Case, Tolerance

_TOKENS = 'text_encoder.token_embedding.weight'
_ROWS = f'{_TOKENS}[ids]'
# Arguments that upstream takes and ignores; `context_length` where its part has no use for it.
_IGNORED = (
    *('style', 'outdim', 'out_dim', 'clip_head', 'text_adapter', 'context_feature', 'baseline'),
    'context_decoder.context_length',
)
_LOSSES = Tolerance(atol=1e-7, rtol=1e-5)


def close(reference: Tensor) -> Tolerance:
    """The cases' tolerance: relative, and 1e-5 of the largest value."""
    return _relative(reference, 1e-4)


def close_gradient(reference: Tensor) -> Tolerance:
    """What a gradient may differ by."""
    return _relative(reference, 1e-3)


def close_loss(reference: Tensor) -> Tolerance:
    """What a loss that stands alone may differ by."""
    return _relative(reference, 1e-5)


def _relative(reference: Tensor, rtol: float) -> Tolerance:
    largest = reference.abs().max().item() if reference.numel() else 0.0
    return Tolerance(atol=1e-5 * largest, rtol=rtol)


def read_case(case: Case, folder: Path, part: str) -> dict[str, Any]:
    """Another file of the case: of ``rn_seg_eval.pt`` and ``model``, ``rn_seg_model.pt``."""
    return read(folder / f'{case.file.stem.rpartition("_")[0]}_{part}.pt')


def without_ignored(config: Mapping[str, Any], part: str = '') -> dict[str, Any]:
    """A config of the file without the arguments that do nothing, at any depth."""
    return {
        key: without_ignored(value, key) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if not {key, f'{part}.{key}'} & set(_IGNORED)
    }


def load_case(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Loads a case's weights as a published checkpoint's."""
    stored = content['token_embedding']
    embedding = token_table(stored['ids'], stored['rows'], stored['shape'][0])
    load_state_strict(model, {**content['state_dict'], _TOKENS: embedding}, 'the golden case')


def compare_state(file: Case, model: nn.Module) -> None:
    """Checks a ``<case>_model.pt``: what was loaded, saved again, is the file."""
    file.use('config', 'class_names')
    file.compare(EXACT, texts=model.tokens)
    saved, stored = model.state_dict(), file.inner('token_embedding')
    embedding = saved.pop(_TOKENS)
    stored.compare(EXACT, shape=list(embedding.shape), rows=embedding[stored['ids']])
    file.compare_weights('state_dict', saved, whole=True)


def compare_features(case: Case, features: TextAlignedFeatures, allowed: Allowed = close) -> None:
    """Compares what a backbone gave with the entries that a case has of it."""
    ours = {f'level{number}': level for number, level in enumerate(features.levels)}
    ours['global_feat'] = features.global_embedding
    ours['visual_embeddings'] = features.dense_embedding
    case.compare(allowed, ours)


def compare_losses(file: Case, losses: Mapping[str, Any]) -> None:
    """Compares every loss and runs the backward pass of their sum.

    Accuracies of the file count ignored pixels as wrong, as mmseg 0.19 did; mmseg 1.x leaves them
    out, so they are not compared.
    """
    wanted = file.inner('losses')
    for key in wanted:
        if 'loss' not in key:
            wanted.leave(key, 'accuracy is defined otherwise in mmseg 1.x and mmdet 3.x')
            continue
        value = losses[key]
        ours = torch.stack([part.detach() for part in value]) if isinstance(value, list) else value
        theirs = torch.as_tensor(wanted.wanted(key), dtype=torch.float64)
        wanted.compare_as(key, ours.detach().double().reshape(theirs.shape), theirs, _LOSSES)
    total = sum(
        sum(value) if isinstance(value, list) else value
        for key, value in losses.items()
        if 'loss' in key
    )
    # mmdet's mask loss, and so the sum, has one entry instead of none.
    file.compare(_LOSSES, total_loss=total.detach().double().squeeze())
    total.backward()


def compare_gradients(file: Case, model: nn.Module, ids: Tensor) -> None:
    """Compares gradients of the named parameters, and norms over groups."""
    parameters, wanted = dict(model.named_parameters()), file.inner('grads')
    for key in wanted:
        gradient = parameters[_TOKENS].grad[ids] if key == _ROWS else parameters[key].grad
        wanted.compare(close_gradient, {key: gradient})
    norms = file.inner('grad_norms')
    for group in norms:
        chosen = [
            parameter.grad.norm()
            for key, parameter in parameters.items()
            if parameter.grad is not None and _in_group(key, group)
        ]
        norms.compare(Tolerance(rtol=1e-3), {group: torch.stack(chosen).norm().double()})
    without = sorted(key for key, parameter in parameters.items() if parameter.grad is None)
    file.compare_as('params_without_grad', without, sorted(file.wanted('params_without_grad')))


def _in_group(key: str, group: str) -> bool:
    if group == 'all':
        return True
    if group == 'without_text_encoder':
        return not key.startswith('text_encoder.')
    return key.startswith(f'{group}.')
