"""Parity with MaskCLIP: every quantity of its golden files, through the loaders that users take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from mmcv.transforms import Resize
from mmseg.models import SegDataPreProcessor
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from ovseg.budget import MemoryBudget
from ovseg.encoders import build_dense_encoder
from ovseg.encoders.clip import override_vision
from ovseg.encoders.maskclip_format import to_maskclip
from ovseg.images import Images
from ovseg.refiners import KeySmoothing, PromptDenoising, key_smoothing, prompt_denoising
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import build_classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.templates import get_templates
from parity.golden import clip_config, read, saved, token_table
from parity.report import EXACT, LABELS, Case, Tolerance

FEATURES = Tolerance(atol=1e-5, rtol=1e-4)
# Anything behind softmax(100 x); smoothed scores are sums over positions, hence the relative part.
SHARPENED = Tolerance(atol=1e-4, rtol=1e-4)
PROBABILITIES = Tolerance(atol=1e-6)
ONE_LEVEL = Tolerance(atol=0.02)  # one uint8 level of cv2's resize, after division by std
_STRIPS = MemoryBudget(2**14 / 2**20)  # small, so that the cases go through several strips


def check_preprocess(file: Case, folder: Path) -> None:
    """Resize and normalisation of the published test pipeline."""
    statistics = {
        'mean': [255 * value for value in IMAGENET_DEFAULT_MEAN],
        'std': [255 * value for value in IMAGENET_DEFAULT_STD],
    }
    rounded = {key: [round(value, 6) for value in values] for key, values in statistics.items()}
    file.compare(EXACT, rounded, to_rgb=True)
    preprocess = SegDataPreProcessor(**statistics, bgr_to_rgb=True)
    for case in file.cases('cases'):
        image = Resize(scale=tuple(case['scale_wh']), keep_ratio=True)(
            {'img': np.ascontiguousarray(case['image_bgr_uint8'].numpy())}
        )['img']
        case.compare(EXACT, resized_hw=list(image.shape[:2]))
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        case.compare(
            ONE_LEVEL, img=preprocess({'inputs': [tensor], 'data_samples': []})['inputs'][0]
        )


def check_weights_and_text(file: Case, folder: Path) -> None:
    """The converter, the prompts, the tokens and the text classifiers."""
    classes = file['config']['classes']
    ours = to_maskclip(file['clip_state_dict'])
    ours['decode_head.text_embeddings'] = file['text_embeddings']
    for key, value in file.wanted('state_dict').items():
        if key in ours:
            file.inner('state_dict').compare_as(key, ours.pop(key), value)
    file.compare_as('state_dict', sorted(ours), [])
    templates = get_templates('maskclip-85')
    file.compare(EXACT, prompt_templates=list(templates))
    file.use('token_embedding_ids', 'token_embedding_rows')
    with golden_segmentor(file.content) as model:
        tokenizer = open_clip.SimpleTokenizer(context_length=model.text.encoder.context_length)
        tokens = tokenizer([template.format(classes[0]) for template in templates])
        file.compare(EXACT, text_tokens_first_class=tokens)
        vocabulary = Vocabulary.parse([[name] for name in classes])
        for count, name in ((85, 'maskclip-85'), (1, 'single')):
            classifier = build_classifier(vocabulary, model.text.encoder, templates=name)
            file.compare(FEATURES, {f'text_classifier_{count}': classifier.weight})


@torch.no_grad()
def check_vit_cases(file: Case, folder: Path) -> None:
    """Dense features, refinement and whole inference of the ViT."""
    with golden_segmentor(read(folder / 'vit_dense.pt')) as model:
        for case in file.cases('cases'):
            _check_vit_case(case, model)
        for case in file.cases('backbone_switches'):
            _check_switch(case, model)


def _check_vit_case(case: Case, model: TrainingFreeSegmentor) -> None:
    image, rows = case['img'], model.classifier
    features = model.encoder(image, frozenset({'queries', 'keys', 'tokens'}))
    plain = _encoder(model, last_block='vanilla')(image, frozenset({'tokens'}))
    cosines = rows.row_scores(features.patch)
    case.compare(
        FEATURES,
        backbone_q=features.queries,
        backbone_k=features.keys,
        backbone_v=features.tokens,
        feat=features.patch,
        cos_logits=cosines,
        backbone_x=plain.tokens,
        feat_plain_x=plain.patch,
        cos_logits_plain_x=rows.row_scores(plain.patch),
    )
    _check_refinement(case, cosines, features.keys)
    _check_inference(case, model)


def _check_switch(case: Case, model: TrainingFreeSegmentor) -> None:
    case.use('name')
    image, returns_values = case['img'], case['return_qkv']
    plain: dict[str, Any] | str = 'vanilla'
    if case['skip_last_attn']:
        # Upstream forgets the final norm on the values unless it also returns them.
        plain = {'attention': 'value', 'final_norm': returns_values}
    features = _encoder(model, last_block=plain)(image, frozenset({'tokens'}))
    # The head reads the values where the backbone returns them, else its plain output.
    scored = _encoder(model, last_block='maskclip' if returns_values else plain)(image)
    cosines = model.classifier.row_scores(scored.patch)
    case.compare(FEATURES, backbone_x=features.tokens, cos_logits=cosines)


@torch.no_grad()
def check_variants(file: Case, folder: Path) -> None:
    """MaskCLIP as released beside the one inside CLIP-DINOiser, on the same weights."""
    file.use('config', 'note')
    homes = [folder, folder.parent / 'maskclip']
    weights = next((home for home in homes if (home / 'vit_dense.pt').is_file()), None)
    if weights is None:
        return  # every quantity is then listed as missing
    content = read(weights / 'vit_dense.pt')
    with golden_segmentor(content) as model:
        visual = model.clip.visual
        for case in file.cases('cases'):
            image = case['img']
            ours = {'feat_maskclip_upstream': model.encoder(image).patch}
            for activation in ('gelu', 'quick_gelu'):
                override_vision(visual, activation, 1e-5)
                encoder = build_dense_encoder(visual, position_resize='always')
                features = encoder(image, frozenset({'tokens'}))
                name = f'openclip_{activation.replace("_", "")}'
                ours |= {f'feat_{name}': features.patch, f'v_{name}': features.tokens}
            override_vision(visual, *_vision(content['config']).values())
            case.compare(FEATURES, ours)


@torch.no_grad()
def check_resnet_cases(file: Case, folder: Path) -> None:
    """Dense features, refinement and whole inference of the ResNet."""
    with golden_segmentor(read(folder / 'resnet_dense.pt')) as model:
        for case in file.cases('cases'):
            features = model.encoder(case['img'], frozenset({'keys', 'tokens'}), layers=(3, 4))
            attended = _encoder(model, pooling='attention')(case['img'])
            cosines = model.classifier.row_scores(features.patch)
            case.compare(
                FEATURES,
                backbone_layer3=features.intermediates[0],
                backbone_layer4=features.intermediates[1],
                v=features.tokens,
                k=features.keys,
                feat=features.patch,
                cos_logits=cosines,
                cos_logits_attn_pooling=model.classifier.row_scores(attended.patch),
            )
            _check_refinement(case, cosines, features.keys)
            _check_inference(case, model)


def _check_refinement(case: Case, cosines: Tensor, keys: Tensor) -> None:
    # The margins tell how far the thresholds are from the nearest value; nothing to compute.
    case.use('refine_margins')
    refined = case.inner('refined')
    for index, (denoise, smooth) in enumerate(case['refine_variants_pd_ks']):
        ours = prompt_denoising(cosines, denoise)
        if smooth > 0:
            ours = key_smoothing(ours, keys, smooth)
        tolerance = SHARPENED if smooth > 0 else FEATURES
        refined.compare(tolerance, {index: ours})


def _check_inference(case: Case, model: TrainingFreeSegmentor) -> None:
    size, denoise = tuple(case['ori_shape']), case['refine_variants_pd_ks'][1][0]
    for suffix, refiners in (('', []), ('_kspd', [PromptDenoising(denoise), KeySmoothing(1.0)])):
        model.refiners = refiners
        encodings = model.encode(Images(case['img']))
        at_input, full = (
            torch.stack([model.scores(e, model.classifier, s).whole(_STRIPS) for e in encodings])
            for s in (encodings[0].input_size, size)
        )
        if not refiners:
            case.compare(FEATURES, seg_logit_image=at_input)
        tolerance = SHARPENED if refiners else PROBABILITIES
        case.compare(tolerance, {f'prob_ori{suffix}': full.softmax(1)})
        labels = [model.segment(e, size, budget=_STRIPS).labels for e in encodings]
        case.compare(LABELS, {f'pred_ori{suffix}': torch.stack(labels)})
    model.refiners = []


def _encoder(model: TrainingFreeSegmentor, **settings: Any) -> nn.Module:
    if 'last_block' in settings:
        settings['position_resize'] = 'token_count'
    return build_dense_encoder(model.clip.visual, **settings)


def _vision(config: dict[str, Any]) -> dict[str, Any]:
    """What MaskCLIP's own ViT has otherwise than CLIP's."""
    return {'activation': config.get('act', 'gelu'), 'layer_norm_eps': config.get('ln_eps', 1e-6)}


def clip_settings(config: dict[str, Any], maskclip_file: str, pretrained: str) -> dict[str, Any]:
    """Arguments ``clip`` and ``encoder`` of a segmentor with a golden file's towers."""
    is_vit = config['kind'] == 'vit'
    return {
        'clip': {
            'model': clip_config(config),
            'pretrained': pretrained,
            'maskclip_files': [maskclip_file],
            **(_vision(config) if is_vit else {}),
        },
        'encoder': {'last_block': 'maskclip', 'position_resize': 'token_count'} if is_vit else {},
        'data_preprocessor': {'type': 'SegDataPreProcessor'},
    }


@contextmanager
def golden_segmentor(content: Mapping[str, Any]) -> Iterator[TrainingFreeSegmentor]:
    """The segmentor of a golden file, loaded from files in the published formats."""
    table = token_table(content['token_embedding_ids'], content['token_embedding_rows'])
    state = {**content['clip_state_dict'], 'token_embedding.weight': table}
    weights = {'meta': {}, 'state_dict': content['state_dict']}
    with saved(clip=state, segmentor=weights, text=content['text_embeddings']) as files:
        yield TrainingFreeSegmentor(
            **clip_settings(content['config'], files['segmentor'], files['clip']),
            vocabulary=[[name] for name in content['config']['classes']],
            text={'embeddings': files['text'], 'cache_dir': None},
        )
