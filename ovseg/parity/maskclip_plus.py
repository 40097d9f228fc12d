"""Parity with MaskCLIP+: labels, losses and gradients of training steps on its golden file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ovseg.engine.checkpoint import load_state_strict
from ovseg.parity.maskclip import FEATURES, LABELS, open_clip_config
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.segmentors import MaskCLIPPlusSegmentor
from ovseg.training.losses import upsampled_cross_entropy

# Sums over thousands of pixels in another order.
GRADIENTS = Tolerance(atol=1e-6, rtol=1e-3)
_HEAD = 'decode_head.'
_PROJECTIONS = ('proj.', 'q_proj.', 'k_proj.', 'v_proj.', 'c_proj.')


class _Given(nn.Module):
    """Stands for a backbone: its one map is given."""

    features: Tensor

    def forward(self, inputs: Tensor) -> list[Tensor]:
        return [self.features]


def check_training_steps(report: Report, folder: Path) -> None:
    """Every case: one training step, its second one where the case goes on."""
    content = report.content
    report.use('config', 'feat_in', 'img', 'text_embeddings', 'bg_embeddings', 'unlabeled')
    with _teacher_files(content) as files:
        model = None
        for index, case in enumerate(content['cases']):
            if not _goes_on(case['name']):
                model = golden_student(content, case['name'], files)
            _check_step(report, f'cases.{index}', case, model)
        plain = golden_student(content, 'clip_guided', files)
        _check_published(report, content, plain)
        plain.eval()
        with torch.no_grad():
            plain.backbone.features = content['feat_in']
            scores = plain(content['img'], mode='tensor')
        report.compare('eval_seg_logits', scores, content['eval_seg_logits'], FEATURES)


def _check_published(report: Report, content: dict, model: MaskCLIPPlusSegmentor) -> None:
    """What was loaded, written in the published format again, is the file."""
    ours = model.to_published()
    for key, value in content['state_dict'].items():
        written = ours.pop(f'{_HEAD}{key}', torch.empty(0))
        report.compare(f'state_dict.{key}', written, value, EXACT)
    report.compare('state_dict', sorted(ours), [], EXACT)


def _check_step(report: Report, name: str, case: dict, model: MaskCLIPPlusSegmentor) -> None:
    content = report.content
    report.use(f'{name}.name', f'{name}.gt_in')
    report.compare(f'{name}.name', case['name'] in _SETTINGS, True, EXACT)
    head = model.decode_head
    features = content['feat_in'].clone().requires_grad_(True)
    model.backbone.features = features
    samples = [SegDataSample(gt_sem_seg=PixelData(data=gt.long())) for gt in case['gt_in']]
    seen: dict[str, Tensor] = {}
    score = head.loss_by_feat

    def remember(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        seen.update(scores=scores.detach(), labels=labels)
        return score(scores, labels)

    head.loss_by_feat = remember
    model.train().zero_grad(set_to_none=True)
    losses = model.loss(content['img'], samples)
    del head.loss_by_feat
    total = sum(value for key, value in losses.items() if 'loss' in key)
    total.backward()
    labels = seen['labels'][:, None].to(torch.int16)
    report.compare(f'{name}.label_used', labels, case['label_used'], LABELS)
    report.compare(f'{name}.seg_logits', seen['scores'], case['seg_logits'], FEATURES)
    for key, value in case['losses'].items():
        # The reference counts ignored pixels as wrong, mmseg 1.x and ours leave them out.
        ours = (
            _accuracy_of_all(seen['scores'], seen['labels'])
            if key == 'acc_seg'
            else losses[f'decode.{key}']
        )
        report.compare(f'{name}.losses.{key}', ours.detach().reshape(value.shape), value, FEATURES)
    report.compare(f'{name}.total_loss', total.detach(), case['total_loss'], FEATURES)
    report.compare(f'{name}.grad_feat_in', features.grad, case['grad_feat_in'], GRADIENTS)
    parameters = dict(head.named_parameters())
    for key, value in case['grads'].items():
        gradient = parameters[key].grad
        ours = torch.zeros_like(value) if gradient is None else gradient
        report.compare(f'{name}.grads.{key}', ours, value, GRADIENTS)
    trained = sorted(key for key, value in parameters.items() if value.requires_grad)
    report.compare(f'{name}.grads', trained, sorted(case['grads']), EXACT)
    report.compare(f'{name}.iter_counter', int(model.iterations), case['iter_counter'], EXACT)
    mean = head.decode_module.aspp_modules[0].bn.running_mean
    report.compare(f'{name}.bn_running_mean0', mean, case['bn_running_mean0'], FEATURES)


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
    content: dict[str, Any], name: str, files: tuple[Path, Path]
) -> MaskCLIPPlusSegmentor:
    """A case's segmentor, its weights loaded as a published checkpoint's are.

    Args:
        content: ``maskclip_plus.pt``.
        name: of the case.
        files: the teacher and the text rows in the published formats.
    """
    config, switches = content['config'], _SETTINGS.get(name, ())
    refiners = [
        {'type': kind, 'threshold': config[f'{switch}_thresh']}
        for switch, kind in (('pd', 'PromptDenoising'), ('ks', 'KeySmoothing'))
        if switch in switches
    ]
    labels: dict[str, Any] = {'conf_thresh': config['conf_thresh'] if 'conf' in switches else 0.0}
    has_background = 'bg' in switches
    is_vit = config['kind'] == 'vit'
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
            'clip': {
                'model': open_clip_config(config),
                'pretrained': 'random',
                'maskclip_files': [str(files[0])],
                **({'activation': 'gelu', 'layer_norm_eps': 1e-6} if is_vit else {}),
            },
            'encoder': {'last_block': 'maskclip', 'position_resize': 'token_count'}
            if is_vit
            else {},
            'text': {'embeddings': str(files[1]), 'cache_dir': None},
            'refiners': refiners,
            'data_preprocessor': {'type': 'SegDataPreProcessor'},
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
def _teacher_files(content: dict[str, Any]) -> Iterator[tuple[Path, Path]]:
    state = {
        (f'backbone.{key[5:]}' if key.startswith('clip.') else f'{_HEAD}{key}'): value
        for key, value in content['state_dict'].items()
        if key.startswith(('clip.', *_PROJECTIONS))
    }
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / 'teacher.pth', Path(folder) / 'text.pth')
        torch.save({'meta': {}, 'state_dict': state}, files[0])
        torch.save(content['text_embeddings'], files[1])
        yield files
