"""Parity with one training step of FC-CLIP and of MAFT+, with the recorded random draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from ovseg.encoders.fcclip_format import to_fcclip
from ovseg.segmentors import FCCLIP, MAFTPlus
from parity.golden import read
from parity.maftplus.model import (
    LOGITS,
    build,
    classifier_of,
    load,
    of_file,
    transfer_heads,
    with_void,
)
from parity.ovseg.maskformer import pad_images
from parity.report import EXACT, Case, Tolerance

_LOSSES = Tolerance(rtol=2e-5, atol=1e-7)
# Made of differences of cosines times 100, of which float32 keeps some 1e-5; processors differ.
_RANKING = Tolerance(rtol=1e-4, atol=1e-7)
# The gradient of where a map is read jumps at the borders of its cells: an offset that lies on one,
# rounded otherwise by another processor, moves a whole gradient.
_JUMPY = 'sampling_offsets'
_PARTS = {'loss_ce': 'loss_cls', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice'}
_TUNING = {'ranking_loss': 'loss_ranking', 'rc_loss': 'loss_compensation'}


def check_training(file: Case, folder: Path) -> None:
    """Outputs, matching, weighted losses, and every parameter's gradient."""
    config, inputs = file['config'], file['inputs']
    model = _model(file, folder, config).train()
    classifier = classifier_of(inputs['text_classifier_train'], inputs['num_synonyms_train'])
    model.words._classifier = classifier
    images = pad_images(inputs['images'], config)
    draws = list(file['random_draws'])
    with _recorded(model, draws, len(images)) as seen:
        losses = model.loss(images, [_sample(*each) for each in _targets(inputs)])
    _compare_predictions(file, seen)
    outputs = file.inner('outputs')
    weighted = outputs.inner('losses_weighted')
    for name in weighted:
        allowed = _RANKING if name == 'ranking_loss' else _LOSSES
        weighted.compare(allowed, {name: losses[_our_loss(name)].detach()})
    outputs.compare_as('losses_weighted', len(losses), len(weighted.content))
    total = sum(losses.values())
    outputs.compare(_LOSSES, total=total.detach())
    total.backward()
    _compare_gradients(file, model)


def _model(file: Case, folder: Path, config: dict[str, Any]) -> FCCLIP:
    if not file.file.stem.startswith('maftplus'):
        return of_file(file.file, config)
    weights = read(folder / 'maftplus_weights.pt')['state_dict']
    taught = read(folder / 'maftplus_teacher_weights.pt')['state_dict']
    model = build(
        config,
        MAFTPlus,
        teacher=True,
        compensation_weight=config['rc_weight'],
        transfer={'num_heads': transfer_heads(folder, config)},
    )
    return load(model, weights, taught)


def _targets(inputs: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(inputs['gt_labels'], inputs['gt_masks'], strict=True)


def _sample(labels: Tensor, masks: Tensor) -> SegDataSample:
    sample = SegDataSample()
    sample.gt_instances = InstanceData(labels=labels, masks=masks)
    return sample


@contextlib.contextmanager
def _recorded(model: Any, draws: list[Tensor], images: int) -> Iterator[dict[str, Any]]:
    """Random draws as recorded, and what the head found meanwhile.

    The reference treats the final prediction first, mmdet last.
    """
    head, layer = model.proposals, images + 2
    ordered = iter([*draws[layer:], *draws[:layer]])
    seen: dict[str, Any] = {'pairs': []}
    own_losses, own_assign = head.losses, head.assigner.assign

    def losses(class_logits: Tensor, mask_logits: Tensor, targets: Any) -> Any:
        seen.update(class_logits=class_logits.detach(), mask_logits=mask_logits.detach())
        return own_losses(class_logits, mask_logits, targets)

    def assign(*args: Any, **kwargs: Any) -> Any:
        found = own_assign(*args, **kwargs)
        queries = (found.gt_inds > 0).nonzero().flatten()
        seen['pairs'].append([queries.tolist(), (found.gt_inds[queries] - 1).tolist()])
        return found

    def draw(*size: Any, **_: Any) -> Tensor:
        shape = tuple(size[0]) if isinstance(size[0], Sequence) else tuple(size)
        given = next(ordered)
        assert tuple(given.shape) == shape, (given.shape, shape)
        return given

    def moved_logits(embeddings: Tensor, image: Tensor, classifier: Any) -> Tensor:
        with torch.no_grad():
            void = with_void(model, classifier)
            seen['text'] = model.transfer(void.weight, image)
            seen['moved_logits'] = own_logits(embeddings, image, void)
        return own_logits(embeddings, image, classifier)

    patches = contextlib.ExitStack()
    if isinstance(model, MAFTPlus):
        own_logits = model.moved_logits
        patches.enter_context(mock.patch.object(model, 'moved_logits', moved_logits))
    with (
        patches,
        mock.patch.object(head, 'losses', losses),
        mock.patch.object(head.assigner, 'assign', assign),
        mock.patch.object(torch, 'rand', draw),
    ):
        yield seen
    assert next(ordered, None) is None, 'not all recorded draws were used'


def _compare_predictions(file: Case, seen: dict[str, Any]) -> None:
    logits, masks = seen['class_logits'], seen['mask_logits']
    count, images = len(logits), logits.shape[1]
    order = [count - 1, *range(count - 1)]  # theirs: the final one first
    file.inner('matched_indices').compare(
        EXACT,
        {
            position: [seen['pairs'][layer * images + image] for image in range(images)]
            for position, layer in enumerate(order)
        },
    )
    theirs = file.inner('pred_logits')
    # Aux first or last: the file's own order is that of the layers.
    theirs.compare(LOGITS, dict(enumerate(logits)))
    file.compare(LOGITS, pred_masks_last=masks[-1])
    if 'moved_logits' in seen:
        file.compare(
            Tolerance(atol=2e-4, rtol=2e-5),
            out_vocab_logits=seen['moved_logits'],
            cdt_text_out=seen['text'],
        )
    if 'pred_masks_aux' in file:
        file.inner('pred_masks_aux').compare(LOGITS, dict(enumerate(masks[:-1])))


def _compare_gradients(file: Case, model: FCCLIP) -> None:
    own = {name: value for name, value in model.named_parameters() if value.requires_grad}
    found = to_fcclip({name: value.grad for name, value in own.items()})
    file.compare_as(
        'trainable_parameters', sorted(found), sorted(file.wanted('trainable_parameters'))
    )
    outputs = file.inner('outputs')
    sums = outputs.inner('grad_sum_and_abs_sum')
    for name in sums:
        gradient, total = found[name].double(), sums.wanted(name)[1]
        allowed = Tolerance(atol=1e-5 + (1e-3 if _JUMPY in name else 2e-4) * total)
        ours = torch.stack([gradient.sum(), gradient.abs().sum()])
        sums.compare(allowed, {name: ours})
    outputs.inner('grads').compare(
        _gradients, {name: found[name] for name in outputs.inner('grads')}
    )


def _gradients(theirs: Tensor) -> Tolerance:
    return Tolerance(atol=max(2e-5, 1e-4 * float(theirs.abs().max())), rtol=1e-3)


def _our_loss(name: str) -> str:
    """``loss_ce_2`` -> ``d2.loss_cls``, ``loss_ce`` -> ``loss_cls``."""
    if name in _TUNING:
        return _TUNING[name]
    part, _, layer = name.rpartition('_')
    return f'd{layer}.{_PARTS[part]}' if layer.isdigit() else _PARTS[name]
