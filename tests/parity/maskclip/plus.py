"""Parity with MaskCLIP+: labels, losses and gradients of training steps on its golden file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ovseg.engine.checkpoint import load_state_strict
from ovseg.segmentors import MaskCLIPPlusSegmentor
from ovseg.training.losses import upsampled_cross_entropy
from parity.golden import saved
from parity.maskclip.dense import FEATURES, clip_settings
from parity.report import EXACT, LABELS, Case, Tolerance

# Sums over thousands of pixels in another order.
GRADIENTS = Tolerance(atol=1e-6, rtol=1e-3)
_HEAD = 'decode_head.'
_PROJECTIONS = ('proj.', 'q_proj.', 'k_proj.', 'v_proj.', 'c_proj.')


class _Given(nn.Module):
    """Stands for a backbone: its one map is given."""

    features: Tensor

    def forward(self, inputs: Tensor) -> list[Tensor]:
        return [self.features]


def check_training_steps(file: Case, folder: Path) -> None:
    """Every case: one training step, its second one where the case goes on."""
    file.use('config', 'text_embeddings', 'bg_embeddings', 'unlabeled')
    content, features, image = file.content, file['feat_in'], file['img']
    with teacher_files(content) as files:
        model = None
        for case in file.cases('cases'):
            if not _goes_on(case['name']):
                model = golden_student(content, case['name'], files)
            _check_step(case, model, features, image)
        plain = golden_student(content, 'clip_guided', files)
        # What was loaded, written in the published format again, is the file.
        written = {key.removeprefix(_HEAD): value for key, value in plain.to_published().items()}
        file.compare_weights('state_dict', written, whole=True)
        plain.eval().backbone.features = features
        with torch.no_grad():
            file.compare(FEATURES, eval_seg_logits=plain(image, mode='tensor'))


def _check_step(case: Case, model: MaskCLIPPlusSegmentor, given: Tensor, image: Tensor) -> None:
    case.compare_as('name', case['name'] in _SETTINGS, True)
    head = model.decode_head
    features = given.clone().requires_grad_(True)
    model.backbone.features = features
    samples = [SegDataSample(gt_sem_seg=PixelData(data=gt.long())) for gt in case['gt_in']]
    seen: dict[str, Tensor] = {}
    score = head.loss_by_feat

    def remember(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        seen.update(scores=scores.detach(), labels=labels)
        return score(scores, labels)

    head.loss_by_feat = remember
    model.train().zero_grad(set_to_none=True)
    losses = model.loss(image, samples)
    del head.loss_by_feat
    total = sum(value for key, value in losses.items() if 'loss' in key)
    total.backward()
    case.compare(LABELS, label_used=seen['labels'][:, None])
    case.compare(FEATURES, seg_logits=seen['scores'])
    # The reference counts ignored pixels as wrong, mmseg 1.x and ours leave them out.
    ours = {**losses, 'decode.acc_seg': _accuracy_of_all(seen['scores'], seen['labels'])}
    parts = case.inner('losses')
    for key in parts:
        value = ours[f'decode.{key}'].detach().reshape(parts.wanted(key).shape)
        parts.compare(FEATURES, {key: value})
    case.compare(FEATURES, total_loss=total.detach())
    case.compare(GRADIENTS, grad_feat_in=features.grad)
    parameters, gradients = dict(head.named_parameters()), case.inner('grads')
    for key in gradients:
        value = parameters[key]
        gradient = torch.zeros_like(value) if value.grad is None else value.grad
        gradients.compare(GRADIENTS, {key: gradient})
    trained = sorted(key for key, value in parameters.items() if value.requires_grad)
    case.compare_as('grads', trained, sorted(gradients))
    case.compare(EXACT, iter_counter=int(model.iterations))
    case.compare(FEATURES, bn_running_mean0=head.decode_module.aspp_modules[0].bn.running_mean)


def _accuracy_of_all(scores: Tensor, labels: Tensor) -> Tensor:
    sums = upsampled_cross_entropy(scores, labels)
    return 100.0 * sums.right / sums.pixels


def _goes_on(name: str) -> bool:
    return name.endswith('_iter2_self')


# Case -> what differs from annotation-free training with a plain teacher.
_SETTINGS: dict[str, tuple[str, ...]] = {
    'clip_guided': (),
    'clip_guided_ks': ('ks',),
    'clip_guided_pd': ('pd',),
    'clip_guided_kspd': ('pd', 'ks'),
    'clip_guided_conf': ('conf',),
    'zero_shot_iter1_clip': ('unseen',),
    'zero_shot_iter2_self': ('unseen',),
    'zero_shot_bg_iter1_clip': ('unseen', 'bg'),
    'zero_shot_bg_iter2_self': ('unseen', 'bg'),
    'norm_feat': ('norm',),
    'distill': ('distill',),
}


def golden_student(
    content: Mapping[str, Any], name: str, files: Mapping[str, str]
) -> MaskCLIPPlusSegmentor:
    """A case's segmentor, its weights loaded as a published checkpoint's are."""
    config, switches = content['config'], _SETTINGS.get(name, ())
    refiners = [
        {'type': kind, 'threshold': config[f'{switch}_thresh']}
        for switch, kind in (('pd', 'PromptDenoising'), ('ks', 'KeySmoothing'))
        if switch in switches
    ]
    labels: dict[str, Any] = {'conf_thresh': config['conf_thresh'] if 'conf' in switches else 0.0}
    has_background = 'bg' in switches
    if 'unseen' in switches:
        labels['categories'] = [c + has_background for c in content['unlabeled']]
        labels.update(clip_guided=(1, 1), self_training=(2, -1))
    if 'distill' in switches:
        labels.update(clip_guided=None, distill={})
    model = MaskCLIPPlusSegmentor(
        backbone={'type': 'ResNetV1c', 'depth': 18, 'stem_channels': 2, 'base_channels': 2},
        decode_head={
            'type': 'MaskCLIPPlusHead',
            'channels': config['embed_dim'],
            'cls_bg': has_background,
            'norm_feat': 'norm' in switches,
            'decode_module': {
                'type': 'DeepLabV2Module',
                'in_channels': config['in_channels'],
                'dilations': config['dil'],
                'norm_cfg': {'type': 'BN'},
            },
        },
        vocabulary=[f'class {number}' for number in range(config['ncat'])],
        teacher={
            'type': 'TrainingFreeSegmentor',
            **clip_settings(config, files['teacher'], 'random'),
            'text': {'embeddings': files['text'], 'cache_dir': None},
            'refiners': refiners,
        },
        pseudo_labels=labels,
    )
    model.backbone = _Given()
    published = {f'{_HEAD}{key}': value for key, value in content['state_dict'].items()}
    if has_background:
        published[f'{_HEAD}bg_embeddings'] = content['bg_embeddings']
    load_state_strict(model, published, 'maskclip_plus.pt')
    return model


@contextmanager
def teacher_files(content: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Paths of the teacher's weights and text rows in the published formats."""
    state = {
        (f'backbone.{key[5:]}' if key.startswith('clip.') else f'{_HEAD}{key}'): value
        for key, value in content['state_dict'].items()
        if key.startswith(('clip.', *_PROJECTIONS))
    }
    with saved(teacher={'meta': {}, 'state_dict': state}, text=content['text_embeddings']) as files:
        yield files
