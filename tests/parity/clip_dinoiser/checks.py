"""Parity with CLIP-DINOiser: every quantity of its golden files but of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.correlation import patch_correlation
from ovseg.budget import MemoryBudget
from ovseg.datasets.imagenet_subset import IMAGENET_IMAGES, draw_subset
from ovseg.images import Images
from ovseg.refiners import LearnedBackground
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import WindowMaps
from ovseg.segmentors import CLIPDINOiser, TrainingFreeSegmentor
from ovseg.text import build_classifier
from ovseg.vocabulary import Vocabulary
from parity.clip_dinoiser.model import golden_model
from parity.golden import read
from parity.report import EXACT, LABELS, Case, Tolerance

FEATURES = Tolerance(atol=1e-5, rtol=1e-5)
PROBABILITIES = Tolerance(atol=1e-4)
_STRIPS = MemoryBudget(2**14 / 2**20)  # small, so that the cases go through several strips
_TEXT_TEMPLATES = {
    '80': 'openai-80',
    'laion_2': ['a photo of a {}', 'a photo of an {}'],
    'a_1': ['a {}'],
}
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def check_weights(file: Case, folder: Path) -> None:
    """Text classifiers, and the names of everything in the released module."""
    file.use('clip_state_dict', 'token_embedding_ids', 'token_embedding_rows', 'class_embeddings')
    with golden_model(folder, teacher=True) as model:
        vocabulary = Vocabulary.parse([[name] for name in file['config']['classes']])
        for name, templates in _TEXT_TEMPLATES.items():
            classifier = build_classifier(vocabulary, model.text.encoder, templates=templates)
            file.compare(FEATURES, {f'text_classifier_{name}': classifier.weight})
        checkpoint = file.inner('checkpoint')
        checkpoint.compare_weights('model_state_dict', model.guide.state_dict())
        checkpoint.use('epoch')
        shapes = {name: list(value.shape) for name, value in _released_names(model).items()}
        released = file.inner('all_state_dict_keys')
        released.compare(EXACT, {name: shapes.pop(name, None) for name in released})
        file.compare_as('all_state_dict_keys', sorted(shapes), [])


@torch.no_grad()
def check_inference(file: Case, folder: Path) -> None:
    """Features, correlations, pooling, scores and the background rule, image by image."""
    with golden_model(folder) as model:
        for case in file.cases('cases'):
            _check_case(case, model, _certainty(folder))


def _check_case(case: Case, model: CLIPDINOiser, certainty: float) -> None:
    _leave_margins(case)
    inputs = normalised(case['img'])
    padded = model.encoder.pad(inputs)
    case.compare(FEATURES, padded=model.pixels(padded), clip_input=padded)
    features = model.encoder(inputs, frozenset({'tokens', 'mlp_input'}))
    case.compare(FEATURES, maskclip_v=features.tokens, clip_proj_feats=features.patch)
    # Theirs has the class token first.
    inner = case.wanted('clip_inter')[:, 1:]
    for ours in (features.mlp_input, model.encoder.mlp_input(inputs)):
        case.compare_as('clip_inter', ours.flatten(2).transpose(1, 2), inner, FEATURES)
    _check_guide(case, model, features.mlp_input)
    encodings = model.encode(Images(inputs))
    refined = torch.cat([encoding.features.patch for encoding in encodings])
    case.compare(FEATURES, refined_feats=refined)
    maps = [_grid_scores(model, encoding) for encoding in encodings]
    out = torch.cat([scores.maps for scores in maps])
    case.compare(PROBABILITIES, out=out)
    if 'out_found' in case:
        with _background(model, certainty):
            found = _grid_scores(model, encodings[0]).maps
        case.compare(PROBABILITIES, out_found=found)
        case.compare(EXACT, found_changed=int((found != out).any(1).sum()))
    case.compare(PROBABILITIES, out_image=_at_input(maps[0]))
    demo = torch.stack([_demo_labels(scores, model.encoder.stride[0]) for scores in maps])
    case.compare(LABELS, out_demo=demo)


def _check_guide(case: Case, model: CLIPDINOiser, read_by_it: Tensor) -> None:
    projected, foreground = model.guide.predict(read_by_it)
    correlation = patch_correlation(projected).unflatten(2, tuple(read_by_it.shape[2:]))
    case.compare(FEATURES, bkg_logit=foreground, corrs_raw=correlation)


def _grid_scores(model: CLIPDINOiser, encoding: ImageEncoding) -> WindowMaps:
    """Scores that are still on the patch grid: at the input's size nothing is resized."""
    scores = model.scores(encoding, model.classifier, encoding.input_size)
    assert isinstance(scores, WindowMaps)
    return scores


def _at_input(maps: WindowMaps) -> Tensor:
    return maps.whole(_STRIPS)[None]


def _demo_labels(scores: WindowMaps, patch: int) -> Tensor:
    """The released demo keeps the padding while it upsamples and cuts it off afterwards."""
    height, width = (side * patch for side in scores.maps.shape[2:])
    whole = WindowMaps(scores.maps, [(0, 0, height, width)], (height, width))
    labels = whole.whole(_STRIPS).argmax(0)
    return labels[: scores.input_size[0], : scores.input_size[1]]


@torch.no_grad()
def check_slide(file: Case, folder: Path) -> None:
    """Sliding windows, with and without the background rule."""
    size = tuple(file['ori_shape'])
    with golden_model(folder) as model:
        model.inference_settings = InferenceSettings(
            'slide', file['crop'], file['stride'], window_batch=2
        )
        encoding = model.encode(Images(normalised(file['img'])))[0]
        maps = _grid_scores(model, encoding)
        full = model.scores(encoding, model.classifier, size).whole(_STRIPS)[None]
        file.compare(PROBABILITIES, preds=_at_input(maps), prob_ori=full.softmax(1))
        file.compare(LABELS, pred_ori=model.segment(encoding, size).labels[None])
        with _background(model, _certainty(folder)):
            maps = _grid_scores(model, encoding)
            file.compare(PROBABILITIES, preds_found=_at_input(maps))
            file.compare(LABELS, pred_ori_found=model.segment(encoding, size).labels[None])


def check_teachers(file: Case, folder: Path) -> None:
    """The teachers' weights load under their published names; their signals are another file."""
    file.use('config')
    with golden_model(folder, teacher=True) as model:
        dino, found = model.teacher.dino.vit, model.teacher.found
        file.compare_weights('dino_state_dict', dino.state_dict(), whole=True)
        file.compare_weights('found_vit_state_dict', found.encoder.vit.state_dict(), whole=True)
        file.compare_weights('found_decoder', found.decoder.state_dict())


@torch.no_grad()
def check_teacher_signals(file: Case, folder: Path) -> None:
    """DINO's features and correlations, FOUND's maps."""
    with golden_model(folder, teacher=True) as model:
        teacher = model.teacher
        for index, case in enumerate(file.cases('cases')):
            _leave_margins(case)
            image = model.pixels(normalised(case['img']))
            values = teacher.dino(image, 'values')
            grid = tuple(values.shape[2:])
            taught = teacher.look(image, grid)
            logits = teacher.found(image)
            soft = logits.sigmoid()
            case.compare(EXACT, dino_hw=list(grid))
            case.compare(
                FEATURES,
                dino_feats=_unit(values),
                dino_corrs=taught.affinity.unflatten(2, grid),
                found_feats=teacher.found.encoder(image, 'keys'),
                found_logits=logits,
            )
            smooth = F.interpolate(soft, grid, mode='bilinear', antialias=True)
            case.compare(
                PROBABILITIES,
                found_soft_full=soft,
                found_soft_resized=taught.foreground,
                found_soft_resized_antialias=smooth,
            )
            if index == 0:
                for quantity in ('queries', 'keys'):
                    ours = _unit(teacher.dino(image, quantity))
                    file.compare(FEATURES, {f'dino_feats_{quantity[0]}_case0': ours})


@torch.no_grad()
def check_teacher_model(file: Case, folder: Path) -> None:
    """The teacher-only model: true DINO correlations instead of learned ones."""
    quantity = {'q': 'queries', 'k': 'keys', 'v': 'values'}[file['enc_type_feats']]
    with golden_model(folder, guided_by=quantity, gamma=file['gamma']) as model:
        for case in file.cases('cases'):
            _leave_margins(case)
            encoding = model.encode(Images(normalised(case['img'])))[0]
            grid = tuple(encoding.features.patch.shape[2:])
            affinity = model.guide.look(case['img'], grid).affinity
            case.compare(FEATURES, dino_corrs=affinity.unflatten(2, grid))
            case.compare(PROBABILITIES, out=_grid_scores(model, encoding).maps)
            with _background(model, file['delta']):
                found = _grid_scores(model, encoding).maps
            case.compare(PROBABILITIES, out_found=found)


@torch.no_grad()
def check_final_features(file: Case, folder: Path) -> None:
    """The ablation whose two layers read the final features."""
    with golden_model(folder, head=file['head'], reads='patch') as model:
        inputs = normalised(file['img'])
        _check_guide(file, model, model.encoder(inputs).patch)
        scores = _grid_scores(model, model.encode(Images(inputs))[0])
        file.compare(PROBABILITIES, out=scores.maps)


def check_subset(file: Case, folder: Path) -> None:
    """The images of ImageNet that the published training drew."""
    count = len(file.wanted('indices'))
    ours = draw_subset(file['dataset_len'], count, file['seed'])
    file.compare(EXACT, dataset_len=IMAGENET_IMAGES, indices=torch.tensor(ours))


def _leave_margins(case: Case) -> None:
    """They tell how far the thresholds are from the nearest value; nothing to compute."""
    case.use(*(key for key in case if key.endswith('_margin')))


def _certainty(folder: Path) -> float:
    return read(folder / 'weights.pt')['config'].get('delta', 0.99)


def _unit(maps: Tensor) -> Tensor:
    return (maps / maps.norm(dim=1, keepdim=True)).flatten(2)


def normalised(image: Tensor) -> Tensor:
    """Images in [0, 1] as CLIP takes them."""
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (_CLIP_MEAN, _CLIP_STD))
    return (image - mean) / std


@contextmanager
def _background(model: TrainingFreeSegmentor, certainty: float) -> Iterator[None]:
    refiners = model.refiners
    model.refiners = [*refiners, LearnedBackground(certainty)]
    yield
    model.refiners = refiners


def _released_names(model: CLIPDINOiser) -> dict[str, Tensor]:
    """Everything the released module holds, under its names, from our parts."""
    clip = model.clip.state_dict()
    names = {f'clip_backbone.backbone.{name}': value for name, value in clip.items()}
    names['clip_backbone._positional_embd'] = clip['visual.positional_embedding']
    names['clip_backbone.decode_head.class_embeddings'] = model.classifier.weight
    names['clip_backbone.decode_head.proj.weight'] = clip['visual.proj'].T[:, :, None, None]
    names.update(model.guide.state_dict())
    teacher = model.teacher
    for prefix, module in (
        ('vit_encoder', teacher.dino.vit),
        ('found_model.vit_encoder', teacher.found.encoder.vit),
        ('found_model.decoder', teacher.found.decoder),
    ):
        names.update({f'{prefix}.{name}': value for name, value in module.state_dict().items()})
    return names
