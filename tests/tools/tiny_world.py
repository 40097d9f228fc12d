"""A data set of a few painted rectangles and two small segmentors, for tests of the tools."""

from __future__ import annotations

import os
from pathlib import Path

import ovseg  # noqa: F401  (before mmseg, see ovseg/compat)

# isort: split
import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from torch import nn

from ovseg.encoders import DenseFeatures
from ovseg.registry import MODELS
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import WindowMaps, resized
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.words import Words
from ovseg.text import Classifier

CLASSES = ('red', 'green', 'blue')
RESIZE = 'scale 32 x 24, keep_ratio True'
COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


class _Segmentor(BaseSegmentor):
    def predict(self, inputs, data_samples):
        scores = self.encode_decode(inputs, [])
        for sample, logits in zip(data_samples, scores, strict=True):
            size = sample.ori_shape[:2]
            logits = nn.functional.interpolate(logits[None], size, mode='bilinear')[0]
            logits = logits.flip(-1) if sample.metainfo.get('flip') else logits
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
        return data_samples

    def extract_feat(self, inputs):
        return inputs

    def _forward(self, inputs, data_samples=None):
        return self.encode_decode(inputs, [])


@MODELS.register_module()
class ColorSegmentor(Segmentor):
    """Knows the colours without training: nothing to load, nothing that learns."""

    frozen_prefixes = ('frozen',)

    def __init__(self, vocabulary='red; green; blue', data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.inference_settings = InferenceSettings()
        self.frozen = nn.Parameter(torch.tensor(COLORS, dtype=torch.float32), requires_grad=False)
        self.words = Words(self)
        self.set_vocabulary(vocabulary)

    @classmethod
    def needs_checkpoint(cls, config):
        return False

    @property
    def device(self):
        return self.frozen.device

    def build_classifier(self, vocabulary, rows=None):
        count = len(vocabulary)
        return Classifier(torch.eye(count), torch.arange(count), count, 1.0)

    def encode(self, images, window_batch=None):
        # The last class wins too rarely, so that scores differ from class to class.
        inputs, size = images.inputs, images.size
        distance = (inputs[:, None] - self.frozen[None, :, :, None, None]).norm(dim=2) / 64
        distance[:, 2] += 0.8
        return [
            ImageEncoding(DenseFeatures(-each[None]), [(0, 0, *size)], size) for each in distance
        ]

    def scores(self, encoding, classifier, size, budget=None):
        scores = classifier.row_scores(encoding.features.patch, normalize=False)
        return resized(WindowMaps(scores, encoding.boxes, encoding.input_size), size)

    def protocol(self):
        return {}

    def extract_feat(self, inputs):
        return inputs

    def loss(self, inputs, data_samples):
        raise NotImplementedError


@MODELS.register_module()
class LinearSegmentor(_Segmentor):
    """Learns the colours; drops inputs at random, so that its training depends on the generator.

    The losses of the steps ``bad_steps``, from 1, are NaN; ``at_step``, (step, number), sends
    a signal in a step, and with a third word to the process group, as schedulers do.
    """

    def __init__(self, data_preprocessor=None, bad_steps=(), at_step=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.bad_steps, self.at_step, self.steps = bad_steps, at_step, 0
        self.head = nn.Conv2d(3, len(CLASSES), 1)
        self.drop = nn.Dropout(0.5)

    def encode_decode(self, inputs, batch_img_metas):
        return self.head(self.drop(inputs / 255))

    def loss(self, inputs, data_samples):
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples]).long()
        scores = self.encode_decode(inputs, [])
        self.steps += 1
        if self.at_step and self.at_step[0] == self.steps:
            send, whom = (os.killpg, os.getpgrp()) if self.at_step[2:] else (os.kill, os.getpid())
            send(whom, self.at_step[1])
        if self.steps in self.bad_steps:
            scores = scores * float('nan')
        return {'loss': nn.functional.cross_entropy(scores, labels, ignore_index=255)}


def write_data(root: Path, count: int, size: tuple[int, int] = (24, 32)) -> Path:
    """``count`` noisy images with 255 in a border of the labels; same each time."""
    random = np.random.default_rng(7)
    (root / 'images').mkdir(parents=True)
    (root / 'labels').mkdir()
    for index in range(count):
        labels = np.full(size, index % 3, np.uint8)
        labels[size[0] // 2 :, : size[1] // 2] = random.integers(3)
        labels[: size[0] // 3, size[1] // 3 :] = random.integers(3)
        image = np.asarray(COLORS)[labels] + random.normal(0, 60, (*size, 3))
        labels[:2] = 255
        image = image.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(root / 'images' / f'{index}.png'), image[..., ::-1])
        cv2.imwrite(str(root / 'labels' / f'{index}.png'), labels)
    return root


def write_config(
    path: Path, data: Path, work_dir: Path, trains: bool = False, validates: bool = False
) -> Path:
    """A config for the data: of the colour segmentor, or of the one that trains."""
    text = f"""
_base_ = {str(_runtime())!r}
custom_imports = dict(imports=['ovseg', 'tiny_world'], allow_failed_imports=False)
work_dir = {str(work_dir)!r}
dataset = dict(
    type='BaseSegDataset', data_root={str(data)!r}, img_suffix='.png', seg_map_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=dict(classes={CLASSES!r}, palette={[list(c) for c in COLORS]!r}),
    pipeline=[dict(type='LoadImageFromFile'),
              dict(type='Resize', scale=(32, 24), keep_ratio=True),
              dict(type='LoadSegLabels'), dict(type='PackSegInputs')])
preprocessor = dict(type='SegDataPreProcessor', bgr_to_rgb=True)
test_dataloader = dict(batch_size=1, num_workers=0, dataset=dataset,
                       sampler=dict(type='DefaultSampler', shuffle=False))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='OVIoUMetric')
"""
    if trains:
        text += """
model = dict(type='LinearSegmentor', data_preprocessor=dict(size=(24, 32), **preprocessor))
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dataset,
                        sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=100)
optim_wrapper = dict(type='OptimWrapper',
                     optimizer=dict(type='SGD', lr=0.5, momentum=0.9))
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=6, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
randomness = dict(seed=3)
"""
        if validates:
            text += """
val_dataloader = test_dataloader
val_cfg = dict(type='ValLoop')
val_evaluator = test_evaluator
train_cfg.update(val_interval=1)
default_hooks.update(checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='mIoU'))
"""
    else:
        text += "model = dict(type='ColorSegmentor', data_preprocessor=preprocessor)\n"
    path.write_text(text, encoding='utf-8')
    return path


def _runtime() -> Path:
    return Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'default_runtime.py'
