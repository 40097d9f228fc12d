"""Parity with MaskCLIP: every quantity of its golden files, through the loaders that users take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Resize
from mmseg.models import SegDataPreProcessor
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from ovseg.encoders import build_dense_encoder
from ovseg.encoders.clip import override_vision
from ovseg.encoders.maskclip_format import to_maskclip
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.refiners import KeySmoothing, PromptDenoising, key_smoothing, prompt_denoising
from ovseg.scores.upsample import ScoreMaps, input_rows, output_strips
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import build_classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.templates import get_templates

FEATURES = Tolerance(atol=1e-5, rtol=1e-4)
# Anything behind softmax(100 x); smoothed scores are sums over positions, hence the relative part.
SHARPENED = Tolerance(atol=1e-4, rtol=1e-4)
PROBABILITIES = Tolerance(atol=1e-6)
LABELS = Tolerance(share=0.001)
ONE_LEVEL = Tolerance(atol=0.02)  # one uint8 level of cv2's resize, after division by std
_STRIP_BYTES = 2**14  # small, so that the cases go through several strips


def check_preprocess(report: Report, folder: Path) -> None:
    """Resize and normalisation of the published test pipeline."""
    content = report.content
    statistics = {
        'mean': [255 * value for value in IMAGENET_DEFAULT_MEAN],
        'std': [255 * value for value in IMAGENET_DEFAULT_STD],
    }
    for name, values in statistics.items():
        report.compare(name, [round(value, 6) for value in values], content[name], EXACT)
    report.compare('to_rgb', True, content['to_rgb'], EXACT)
    preprocess = SegDataPreProcessor(**statistics, bgr_to_rgb=True)
    for index, case in enumerate(content['cases']):
        name = f'cases.{index}'
        report.use(f'{name}.image_bgr_uint8', f'{name}.scale_wh')
        image = Resize(scale=tuple(case['scale_wh']), keep_ratio=True)(
            {'img': np.ascontiguousarray(case['image_bgr_uint8'].numpy())}
        )['img']
        report.compare(f'{name}.resized_hw', list(image.shape[:2]), case['resized_hw'], EXACT)
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        ours = preprocess({'inputs': [tensor], 'data_samples': []})['inputs'][0]
        report.compare(f'{name}.img', ours, case['img'], ONE_LEVEL)


def check_weights_and_text(report: Report, folder: Path) -> None:
    """The converter, the prompts, the tokens and the text classifiers."""
    content = report.content
    report.use('config', 'clip_state_dict', 'token_embedding_ids', 'token_embedding_rows')
    report.use('text_embeddings')
    ours = to_maskclip(content['clip_state_dict'])
    ours['decode_head.text_embeddings'] = content['text_embeddings']
    for key, value in content['state_dict'].items():
        if key in ours:
            report.compare(f'state_dict.{key}', ours.pop(key), value, EXACT)
    report.compare('state_dict', sorted(ours), [], EXACT)
    templates = get_templates('maskclip-85')
    report.compare('prompt_templates', list(templates), content['prompt_templates'], EXACT)
    with golden_segmentor(content) as model:
        first = content['config']['classes'][0]
        tokens = model.tokenizer([template.format(first) for template in templates])
        report.compare('text_tokens_first_class', tokens, content['text_tokens_first_class'], EXACT)
        vocabulary = Vocabulary.parse([[name] for name in content['config']['classes']])
        for count, name in ((85, 'maskclip-85'), (1, 'single')):
            classifier = build_classifier(vocabulary, model.text_encoder, templates=name)
            path = f'text_classifier_{count}'
            report.compare(path, classifier.weight, content[path], FEATURES)


def check_vit_cases(report: Report, folder: Path) -> None:
    """Dense features, refinement and whole inference of the ViT."""
    weights = _weights(folder, 'vit_dense.pt')
    with golden_segmentor(weights) as model:
        for index, case in enumerate(report.content['cases']):
            _check_vit_case(report, f'cases.{index}', case, model)
        for index, case in enumerate(report.content['backbone_switches']):
            _check_switch(report, f'backbone_switches.{index}', case, model)


@torch.inference_mode()
def _check_vit_case(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
    report.use(f'{name}.img')
    rows = model.classifier
    features = model.encoder(case['img'], frozenset({'queries', 'keys', 'tokens'}))
    report.compare(f'{name}.backbone_q', features.queries, case['backbone_q'], FEATURES)
    report.compare(f'{name}.backbone_k', features.keys, case['backbone_k'], FEATURES)
    report.compare(f'{name}.backbone_v', features.tokens, case['backbone_v'], FEATURES)
    report.compare(f'{name}.feat', features.patch, case['feat'], FEATURES)
    cosines = rows.row_scores(features.patch)
    report.compare(f'{name}.cos_logits', cosines, case['cos_logits'], FEATURES)
    plain = _encoder(model, last_block='vanilla')(case['img'], frozenset({'tokens'}))
    report.compare(f'{name}.backbone_x', plain.tokens, case['backbone_x'], FEATURES)
    report.compare(f'{name}.feat_plain_x', plain.patch, case['feat_plain_x'], FEATURES)
    report.compare(
        f'{name}.cos_logits_plain_x',
        rows.row_scores(plain.patch),
        case['cos_logits_plain_x'],
        FEATURES,
    )
    _check_refinement(report, name, case, cosines, features.keys)
    _check_inference(report, name, case, model)


@torch.inference_mode()
def _check_switch(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
    report.use(*(f'{name}.{key}' for key in ('name', 'img', 'return_qkv', 'skip_last_attn')))
    plain: dict[str, Any] | str = 'vanilla'
    if case['skip_last_attn']:
        # Upstream forgets the final norm on the values unless it also returns them.
        plain = {'attention': 'value', 'final_norm': case['return_qkv']}
    features = _encoder(model, last_block=plain)(case['img'], frozenset({'tokens'}))
    report.compare(f'{name}.backbone_x', features.tokens, case['backbone_x'], FEATURES)
    # The head reads the values where the backbone returns them, else its plain output.
    scored = _encoder(model, last_block='maskclip' if case['return_qkv'] else plain)(case['img'])
    report.compare(
        f'{name}.cos_logits',
        model.classifier.row_scores(scored.patch),
        case['cos_logits'],
        FEATURES,
    )


def check_variants(report: Report, folder: Path) -> None:
    """MaskCLIP as released beside the one inside CLIP-DINOiser, on the same weights."""
    report.use('config', 'note')
    homes = [folder, folder.parent / 'maskclip']
    weights = next((home for home in homes if (home / 'vit_dense.pt').is_file()), None)
    if weights is None:
        return  # every quantity is then listed as missing
    with golden_segmentor(_weights(weights, 'vit_dense.pt')) as model:
        for index, case in enumerate(report.content['cases']):
            _check_variant(report, f'cases.{index}', case, model)


@torch.inference_mode()
def _check_variant(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
    report.use(f'{name}.img')
    path = 'feat_maskclip_upstream'
    report.compare(f'{name}.{path}', model.encoder(case['img']).patch, case[path], FEATURES)
    for activation in ('gelu', 'quick_gelu'):
        override_vision(model.clip.visual, activation, 1e-5)
        encoder = build_dense_encoder(model.clip.visual, position_resize='always')
        features = encoder(case['img'], frozenset({'tokens'}))
        suffix = f'openclip_{activation.replace("_", "")}'
        report.compare(f'{name}.feat_{suffix}', features.patch, case[f'feat_{suffix}'], FEATURES)
        report.compare(f'{name}.v_{suffix}', features.tokens, case[f'v_{suffix}'], FEATURES)
    override_vision(model.clip.visual, 'gelu', 1e-6)


def check_resnet_cases(report: Report, folder: Path) -> None:
    """Dense features, refinement and whole inference of the ResNet."""
    with golden_segmentor(_weights(folder, 'resnet_dense.pt')) as model:
        for index, case in enumerate(report.content['cases']):
            _check_resnet_case(report, f'cases.{index}', case, model)


@torch.inference_mode()
def _check_resnet_case(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
    report.use(f'{name}.img')
    features = model.encoder(case['img'], frozenset({'keys', 'tokens'}), layers=(3, 4))
    for layer, ours in zip((3, 4), features.intermediates, strict=True):
        path = f'backbone_layer{layer}'
        report.compare(f'{name}.{path}', ours, case[path], FEATURES)
    report.compare(f'{name}.v', features.tokens, case['v'], FEATURES)
    report.compare(f'{name}.k', features.keys, case['k'], FEATURES)
    report.compare(f'{name}.feat', features.patch, case['feat'], FEATURES)
    cosines = model.classifier.row_scores(features.patch)
    report.compare(f'{name}.cos_logits', cosines, case['cos_logits'], FEATURES)
    attended = _encoder(model, pooling='attention')(case['img'])
    report.compare(
        f'{name}.cos_logits_attn_pooling',
        model.classifier.row_scores(attended.patch),
        case['cos_logits_attn_pooling'],
        FEATURES,
    )
    _check_refinement(report, name, case, cosines, features.keys)
    _check_inference(report, name, case, model)


def _check_refinement(report: Report, name: str, case: dict, cosines: Tensor, keys: Tensor) -> None:
    # The margins tell how far the thresholds are from the nearest value; nothing to compute.
    report.use(f'{name}.refine_variants_pd_ks', f'{name}.refine_margins')
    for index, (denoise, smooth) in enumerate(case['refine_variants_pd_ks']):
        ours = prompt_denoising(cosines, denoise)
        if smooth > 0:
            ours = key_smoothing(ours, keys, smooth)
        tolerance = SHARPENED if smooth > 0 else FEATURES
        report.compare(f'{name}.refined.{index}', ours, case['refined'][index], tolerance)


def _check_inference(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
    report.use(f'{name}.ori_shape')
    size = tuple(case['ori_shape'])
    model.refiners = []
    for path, refiners in (
        ('', []),
        ('_kspd', [PromptDenoising(case['refine_variants_pd_ks'][1][0]), KeySmoothing(1.0)]),
    ):
        model.refiners = refiners
        encodings = model.encode_images(case['img'])
        maps = [model.score(encoding, model.classifier) for encoding in encodings]
        if not refiners:
            at_input = torch.stack([input_rows(m, 0, m.input_size[0]) for m in maps])
            report.compare(f'{name}.seg_logit_image', at_input, case['seg_logit_image'], FEATURES)
        if f'prob_ori{path}' in case:
            full = torch.stack([_at_output(m, size) for m in maps])
            tolerance = SHARPENED if refiners else PROBABILITIES
            report.compare(
                f'{name}.prob_ori{path}', full.softmax(1), case[f'prob_ori{path}'], tolerance
            )
        strip = _STRIP_BYTES / 2**20
        labels = [model.segment_encoding(e, size, strip_megabytes=strip) for e in encodings]
        report.compare(
            f'{name}.pred_ori{path}', torch.stack(labels), case[f'pred_ori{path}'], LABELS
        )
    model.refiners = []


def _at_output(maps: ScoreMaps, size: tuple[int, int]) -> Tensor:
    return torch.cat([rows for _, _, rows in output_strips(maps, size, _STRIP_BYTES)], dim=1)


def _weights(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / name, map_location='cpu', weights_only=True)


def _encoder(model: TrainingFreeSegmentor, **settings: Any):
    if 'last_block' in settings:
        settings['position_resize'] = 'token_count'
    return build_dense_encoder(model.clip.visual, **settings)


def open_clip_config(config: dict[str, Any]) -> dict[str, Any]:
    """An open_clip model config with the dimensions that a golden file states.

    Args:
        config: the ``config`` entry of ``vit_dense.pt`` or ``resnet_dense.pt``.
    """
    vision = {key: config[key] for key in ('image_size', 'width', 'layers')}
    if config['kind'] == 'vit':
        vision['patch_size'] = config['patch_size']
        vision['head_width'] = config['width'] // config['heads']
    else:
        vision['head_width'] = config['width'] * 32 // config['heads']
    text = {key: config[f'text_{key}'] for key in ('width', 'heads', 'layers')}
    return {
        'embed_dim': config['embed_dim'],
        'vision_cfg': vision,
        'text_cfg': {'context_length': 77, 'vocab_size': 49408, **text},
        'quick_gelu': True,
    }


@contextmanager
def golden_segmentor(content: dict[str, Any]) -> Iterator[TrainingFreeSegmentor]:
    """The segmentor of a golden file, loaded from files in the published formats.

    Args:
        content: ``vit_dense.pt`` or ``resnet_dense.pt``.
    """
    config = content['config']
    state = dict(content['clip_state_dict'])
    width = content['token_embedding_rows'].shape[1]
    # Rows of tokens that the prompts do not use are not in the file and never read.
    table = torch.zeros(49408, width)
    table[content['token_embedding_ids'].long()] = content['token_embedding_rows']
    state['token_embedding.weight'] = table
    is_vit = config['kind'] == 'vit'
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ('clip.pt', 'segmentor.pth', 'text.pth')]
        torch.save(state, paths[0])
        torch.save({'meta': {}, 'state_dict': content['state_dict']}, paths[1])
        torch.save(content['text_embeddings'], paths[2])
        vision = {'activation': 'gelu', 'layer_norm_eps': 1e-6} if is_vit else {}
        yield TrainingFreeSegmentor(
            clip={
                'model': open_clip_config(config),
                'pretrained': str(paths[0]),
                'maskclip_files': [str(paths[1])],
                **vision,
            },
            encoder={'last_block': 'maskclip', 'position_resize': 'token_count'} if is_vit else {},
            vocabulary=[[name] for name in config['classes']],
            text={'embeddings': str(paths[2]), 'cache_dir': None},
            data_preprocessor={'type': 'SegDataPreProcessor'},
        )
