"""What DenseCLIP's golden cases share: weights, gradients and their norms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.engine.checkpoint import load_state_strict
from parity.report import EXACT, Report, Tolerance

LABELS = Tolerance(share=0.001)
_TOKENS = 'text_encoder.token_embedding.weight'
_ROWS = f'{_TOKENS}[ids]'
# Arguments that upstream takes and ignores.
_IGNORED = ('style', 'outdim', 'clip_head', 'text_adapter')


def close(reference: Tensor, rtol: float = 1e-4) -> Tolerance:
    """The cases' tolerance: relative, and 1e-5 of the largest value."""
    largest = reference.abs().max().item() if reference.numel() else 0.0
    return Tolerance(atol=1e-5 * largest, rtol=rtol)


def compare_tensors(report: Report, name: str, ours: Mapping[str, Any]) -> None:
    """Compares tensors with the entries of these names in the file.

    Args:
        report: takes the lines.
        name: dotted path of the group, empty for the top.
        ours: by key of the group.
    """
    group = report.content
    for part in name.split('.') if name else ():
        group = group[part]
    for key, value in ours.items():
        path = f'{name}.{key}' if name else key
        report.compare(path, value, group[key], close(group[key]))


def read_case(folder: Path, case: str, part: str) -> dict[str, Any]:
    """Another file of the case.

    Args:
        folder: where the files lie.
        case: such as ``rn_seg``.
        part: such as ``model``.
    """
    return torch.load(folder / f'{case}_{part}.pt', map_location='cpu', weights_only=True)


def case_of(report: Report) -> tuple[str, str]:
    """(case, part) from the name of the file: ``rn_seg_eval.pt`` -> (rn_seg, eval)."""
    case, _, part = Path(report.title).stem.rpartition('_')
    return case, part


def without_ignored(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of the file without the arguments that do nothing, at any depth."""
    return {
        key: without_ignored(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _IGNORED
    }


def load_case(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Loads a case's weights as a published checkpoint's.

    Args:
        model: built from the case's config.
        content: of ``<case>_model.pt``.
    """
    stored = content['token_embedding']
    embedding = torch.zeros(stored['shape'])
    embedding[stored['ids']] = stored['rows']
    load_state_strict(model, {**content['state_dict'], _TOKENS: embedding}, 'the golden case')


def compare_state(report: Report, model: nn.Module) -> None:
    """Checks a ``<case>_model.pt``: what was loaded, saved again, is the file.

    Args:
        report: of that file.
        model: from :func:`load_case`.
    """
    content = report.content
    report.use('config', 'class_names')
    report.compare('texts', model.tokens, content['texts'], EXACT)
    saved = model.state_dict()
    stored = content['token_embedding']
    embedding = saved.pop(_TOKENS)
    report.compare('token_embedding.shape', list(embedding.shape), list(stored['shape']), EXACT)
    report.compare('token_embedding.rows', embedding[stored['ids']], stored['rows'], EXACT)
    report.use('token_embedding.ids')
    for key, value in content['state_dict'].items():
        report.compare(f'state_dict.{key}', saved.pop(key, torch.empty(0)), value, EXACT)
    report.compare('state_dict', sorted(saved), [], EXACT)


def compare_losses(report: Report, losses: Mapping[str, Any]) -> Tensor:
    """Compares every loss and runs the backward pass of their sum.

    Args:
        report: of a ``<case>_train.pt``. Its accuracies count ignored pixels as wrong, as mmseg
            0.19 did; mmseg 1.x leaves them out, so they are not compared.
        losses: what the model gave, with gradients.

    Returns:
        The sum.
    """
    for key, theirs in report.content['losses'].items():
        path = f'losses.{key}'
        if 'loss' not in key:
            report.leave(path, 'accuracy is defined otherwise in mmseg 1.x and mmdet 3.x')
            continue
        wanted = torch.as_tensor(theirs, dtype=torch.float64)
        value = losses[key]
        ours = torch.stack([part.detach() for part in value]) if isinstance(value, list) else value
        report.compare(path, ours.detach().double().reshape(wanted.shape), wanted, _LOSSES)
    total = sum(
        sum(value) if isinstance(value, list) else value
        for key, value in losses.items()
        if 'loss' in key
    )
    wanted = torch.tensor(report.content['total_loss'], dtype=torch.float64)
    # mmdet's mask loss, and so the sum, has one entry instead of none.
    report.compare('total_loss', total.detach().double().squeeze(), wanted, _LOSSES)
    total.backward()
    return total


_LOSSES = Tolerance(atol=1e-7, rtol=1e-5)


def compare_gradients(report: Report, model: nn.Module, ids: Tensor) -> None:
    """Compares gradients of the named parameters, and norms over groups.

    Args:
        report: of a ``<case>_train.pt``.
        model: after the backward pass.
        ids: rows of the token embedding that the case's names use.
    """
    parameters = dict(model.named_parameters())
    for key, theirs in report.content['grads'].items():
        gradient = parameters[_TOKENS].grad[ids] if key == _ROWS else parameters[key].grad
        report.compare(f'grads.{key}', gradient, theirs, close(theirs, rtol=1e-3))
    for group, wanted in report.content['grad_norms'].items():
        chosen = [
            parameter.grad.norm()
            for key, parameter in parameters.items()
            if parameter.grad is not None and _in_group(key, group)
        ]
        norm = torch.stack(chosen).norm().double()
        wanted = torch.tensor(wanted, dtype=torch.float64)
        report.compare(f'grad_norms.{group}', norm, wanted, Tolerance(rtol=1e-3))
    without = sorted(key for key, parameter in parameters.items() if parameter.grad is None)
    theirs = sorted(report.content['params_without_grad'])
    report.compare('params_without_grad', without, theirs, EXACT)


def _in_group(key: str, group: str) -> bool:
    if group == 'all':
        return True
    if group == 'without_text_encoder':
        return not key.startswith('text_encoder.')
    return key.startswith(f'{group}.')
