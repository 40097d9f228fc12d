"""Parity with CLIP-DINOiser's training: losses, gradients and optimizer steps."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.affinity.correlation import patch_correlation
from ovseg.config_files import read_config
from ovseg.registry import PARAM_SCHEDULERS
from ovseg.segmentors import CLIPDINOiser
from ovseg.training.losses import correlation_loss, foreground_loss
from parity.clip_dinoiser.checks import FEATURES, normalised
from parity.clip_dinoiser.model import golden_model
from parity.report import EXACT, LABELS, Case, Tolerance

_SCHEDULE = '_base_/schedules/clip_dinoiser_100e.py'


def check_training(file: Case, folder: Path) -> None:
    """Training steps, with the optimizer and schedule of the config."""
    file.use('epochs')
    config = read_config(_SCHEDULE)
    with golden_model(folder, teacher=True) as model, DefaultScope.overwrite_default_scope('ovseg'):
        file.compare_weights('init', model.guide.state_dict())
        wrapper = build_optim_wrapper(model.train(), config.optim_wrapper)
        settings = {**config.param_scheduler[0], 'milestones': file['milestones']}
        scheduler = PARAM_SCHEDULERS.build(settings, default_args={'optimizer': wrapper})
        corr, found = _rates(wrapper)
        file.compare(EXACT, step_lr_gamma=settings['gamma'], corr_lr=corr, found_lr=found)
        for index, case in enumerate(file.cases('iters')):
            images = file['images'][index % len(file['images'])]
            _check_step(case, model, images, wrapper)
            scheduler.step()


def _check_step(case: Case, model: CLIPDINOiser, images: Tensor, wrapper: OptimWrapper) -> None:
    case.compare(EXACT, lr=_rates(wrapper))
    (decay,) = {group['weight_decay'] for group in wrapper.param_groups}
    case.compare(EXACT, weight_decay=decay)
    read = model.encoder.mlp_input(normalised(images))
    with torch.no_grad():
        projected, foreground = model.guide.predict(read)
        taught = model.teacher.look(images, tuple(read.shape[2:]))
    case.compare(_by_largest, bkg_logits=foreground.flatten(2))
    case.compare(LABELS, found_target=(taught.foreground > 0.5).flatten(2))
    case.compare(FEATURES, pred_corrs_clamped=patch_correlation(projected).clamp(min=0))
    case.compare(LABELS, dino_target=taught.affinity > 0)
    loss = sum(model.loss(normalised(images), []).values())
    case.compare(
        FEATURES,
        dino_loss=correlation_loss(projected, taught.affinity),
        found_loss=foreground_loss(foreground, taught.foreground),
        loss=loss.detach(),
    )
    wrapper.zero_grad()
    loss.backward()
    own, gradients = dict(model.guide.named_parameters()), case.inner('grads')
    gradients.compare(_by_largest, {key: own[key].grad for key in gradients})
    wrapper.step()
    after = case.inner('params_after')
    after.compare(FEATURES, {key: own[key].detach() for key in after})


def _rates(wrapper: OptimWrapper) -> list[float]:
    return sorted({round(group['lr'], 12) for group in wrapper.param_groups})


def _by_largest(value: Tensor) -> Tolerance:
    """Gradients, and logits of many summands, are judged by their largest entry."""
    return Tolerance(atol=1e-5 * float(value.abs().max()))
