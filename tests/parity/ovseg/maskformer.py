"""Parity with OVSeg's MaskFormer: weights, backbones, and from images to score maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmseg.models.backbones import ResNetV1c, SwinTransformer
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ovseg.budget import MemoryBudget
from ovseg.encoders.ovseg_format import backbone_from_ovseg, from_ovseg, to_ovseg
from ovseg.engine.checkpoint import load_state_strict
from ovseg.regions.mask_maps import WeighedMasks, mask_maps, masks_at, select_queries
from ovseg.regions.region_crops import RegionSettings
from ovseg.regions.region_embeddings import embed_regions
from ovseg.regions.region_scores import (
    EnsembleSettings,
    fuse,
    proposal_probabilities,
    region_probabilities,
)
from ovseg.text.cosine import cosine_logits
from ovseg.training.heads.open_vocabulary_maskformer import OpenVocabularyMaskFormer
from parity.golden import as_float, read
from parity.ovseg.clip import FEATURES, LOGITS, mask_prompted, read_visual
from parity.report import EXACT, Case, Tolerance

# Sums of some ten thousand pixels.
_SUMS = Tolerance(rtol=1e-6, atol=1e-2)
_WEIGHTS = 'maskformer_weights.pt'
_FORWARD = 'maskformer_forward.pt'
# Small, so that a picture is made of several strips.
_STRIPS = MemoryBudget(2**16 / 2**20)


def check_weights(file: Case, folder: Path) -> None:
    """Published keys and values, loaded and saved again."""
    saved = to_ovseg(golden_maskformer(folder).state_dict())
    file.compare_weights('state_dict', saved)
    every = file.wanted('all_checkpoint_keys')
    filled = {key: file.content['state_dict'].get(key, torch.zeros(1)) for key in every}
    back = to_ovseg(from_ovseg(filled))
    file.compare_as('all_checkpoint_keys', sorted(back), sorted(every))
    file.compare_as('state_dict', sorted(set(saved) - set(every)), [])


@torch.inference_mode()
def check_forward(file: Case, folder: Path) -> None:
    """Everything from images of different sizes, padded together, to proposals and score maps."""
    inputs = file['inputs']
    model = golden_maskformer(folder).eval()
    backbone, head = model['backbone'], model['proposals']
    images = pad_images(inputs['images'], file['config'])
    with _outputs_of(head) as seen:
        levels = backbone(images)
        embeddings, mask_logits = head.forward_layers(levels)
    logits = head.classify(embeddings[-1], inputs['text_features_with_non_object'][:-1])
    size = tuple(images.shape[-2:])
    masks = head(levels, size).mask_logits
    case = file.inner('intermediates')
    case.compare(EXACT, batched_shape=list(images.shape))
    case.compare(_SUMS, batched_sum=images.double().sum((1, 2, 3)))
    case.compare(
        FEATURES,
        res2_image0_sub=levels[0][:1, :, ::3, ::3],
        res3_image0_sub=levels[1][:1, :, ::2, ::2],
        res4=levels[2],
        res5=levels[3],
        mask_features_image0_sub=seen['pixel_decoder'][0][:1, :, ::3, ::3],
        pos_embed_image0=seen['decoder_pe'][:1],
        decoder_hidden=seen['transformer_decoder'],
        class_embed=embeddings,
        class_embed_aux=embeddings[:-1],
        mask_embed=seen['mask_embed'],
        pred_masks=masks,
        pred_masks_aux_image0=mask_logits[:-1, 0],
    )
    case.compare(LOGITS, pred_logits=logits)
    _check_segmentation(file, folder, masks, logits, size)


@torch.inference_mode()
def check_resnet(file: Case, folder: Path) -> None:
    """The ResNet with DeepLab stem, frozen norms and multi-grid."""
    config = file['config']
    backbone = ResNetV1c(
        depth=config['depth'],
        stem_channels=config['stem_out_channels'],
        base_channels=config['width_per_group'],
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        multi_grid=tuple(config['res5_multi_grid']),
        style='caffe' if config['stride_in_1x1'] else 'pytorch',
        norm_cfg={'type': 'BN', 'requires_grad': False},
        norm_eval=True,
    )
    backbone.eval()  # mmseg's gives nothing back
    load_state_strict(backbone, backbone_from_ovseg(as_float(file['state_dict'])), str(file.file))
    outputs = file.inner('outputs')
    levels = backbone(file['inputs']['x'])
    outputs.compare(FEATURES, dict(zip(outputs, levels, strict=True)))


def golden_maskformer(
    folder: Path, dropout: float = 0.0, drop_path: float = 0.0, **_: Any
) -> nn.ModuleDict:
    """``backbone`` and ``proposals`` with the weights of a golden folder."""
    config = read_config(folder)
    swin = {key: value for key, value in config['swin'].items() if key != 'ape'}
    backbone = SwinTransformer(
        **{**swin, 'strides': (swin['patch_size'], 2, 2, 2)},
        use_abs_pos_embed=config['swin']['ape'],
        drop_path_rate=drop_path,
    )
    head = OpenVocabularyMaskFormer(
        backbone.num_features,
        embed_dim=config['embedding_dim'],
        num_queries=config['num_queries'],
        feat_channels=config['conv_dim'],
        mask_channels=config['mask_dim'],
        hidden_channels=config['hidden_dim'],
        num_heads=config['nheads'],
        feedforward_channels=config['ffn'],
        num_layers=config['dec_layers'],
        dropout=dropout,
        class_channels=config['embed_hidden_dim'],
        class_layers=config['embed_layers'],
        norm_groups=config['gn_groups'],
    )
    model = nn.ModuleDict({'backbone': backbone, 'proposals': head})
    state = as_float(read(folder / _WEIGHTS)['state_dict'])
    load_state_strict(model, from_ovseg(state), folder / _WEIGHTS)
    return model


def pad_images(images: Sequence[Tensor], config: Mapping[str, Any]) -> Tensor:
    """Images (3, H, W) uint8 RGB, normalised, then padded with zeros to one size (B, 3, H, W)."""
    preprocessor = SegDataPreProcessor(
        mean=config['pixel_mean'], std=config['pixel_std'], size_divisor=config['size_divisibility']
    )
    samples = [SegDataSample() for _ in images]
    return preprocessor({'inputs': list(images), 'data_samples': samples}, training=True)['inputs']


def read_config(folder: Path) -> dict[str, Any]:
    """Sizes of the model whose weights a golden folder holds."""
    return read(folder / _FORWARD)['config']


def _check_segmentation(
    file: Case, folder: Path, masks: Tensor, logits: Tensor, padded_size: tuple[int, int]
) -> None:
    """Score maps of every image at the size wanted, through the mask-adapted CLIP."""
    config, inputs, wanted = file['config'], file['inputs'], file.inner('outputs').inner('sem_seg')
    tower = mask_prompted(read_visual(folder))
    regions = RegionSettings(threshold=config['mask_thr'], size=tower.image_size[0])
    ensemble = EnsembleSettings(weight=config['clip_ensemble_weight'])
    text = inputs['text_features_with_non_object'][:-1]
    for index, (image, size) in enumerate(zip(inputs['images'], inputs['out_sizes'], strict=True)):
        maps = mask_maps(masks[index], padded_size, tuple(image.shape[1:]))
        found = embed_regions(tower, image, maps, regions)
        second = region_probabilities(cosine_logits(found.embeddings, text), len(text))
        fused = fuse(proposal_probabilities(logits[index]), second, found.valid, ensemble)
        maps = select_queries(maps, fused.queries)
        ours = WeighedMasks(masks_at(maps, tuple(size)), fused.scores).whole(_STRIPS)
        wanted.compare(FEATURES, {index: ours})


@contextmanager
def _outputs_of(head: nn.Module) -> Iterator[dict[str, Any]]:
    """What the head's own modules gave last, by name."""
    seen: dict[str, Any] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, output, name=name: seen.__setitem__(name, output)
        )
        for name, module in head.named_children()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
