"""Parity with CLIP-DINOiser: every quantity of its golden files, training steps included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.correlation import patch_correlation
from ovseg.config_files import find_config
from ovseg.parity.clip_dinoiser_files import golden_model
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.refiners import LearnedBackground
from ovseg.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from ovseg.scores.test_settings import InferenceSettings
from ovseg.scores.upsample import ScoreMaps, input_rows, labels_in_strips, output_strips
from ovseg.segmentors import CLIPDINOiser, TrainingFreeSegmentor
from ovseg.text import build_classifier
from ovseg.training.losses import correlation_loss, foreground_loss
from ovseg.vocabulary import Vocabulary

FEATURES = Tolerance(atol=1e-5, rtol=1e-5)
PROBABILITIES = Tolerance(atol=1e-4)
LABELS = Tolerance(share=0.001)
_STRIP_BYTES = 2**14  # small, so that the cases go through several strips
_SCHEDULE = '_base_/schedules/clip_dinoiser_100e.py'
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def check_weights(report: Report, folder: Path) -> None:
    """Text classifiers, and the names of everything in the released module."""
    content = report.content
    report.use('config', 'clip_state_dict', 'token_embedding_ids', 'token_embedding_rows')
    report.use('class_embeddings')
    with golden_model(folder, teacher=True) as model:
        vocabulary = Vocabulary.parse([[name] for name in content['config']['classes']])
        for name, templates in (
            ('80', 'openai-80'),
            ('laion_2', ['a photo of a {}', 'a photo of an {}']),
            ('a_1', ['a {}']),
        ):
            classifier = build_classifier(vocabulary, model.text_encoder, templates=templates)
            path = f'text_classifier_{name}'
            report.compare(path, classifier.weight, content[path], FEATURES)
        checkpoint = content['checkpoint']
        for name, value in checkpoint['model_state_dict'].items():
            ours = model.guide.state_dict()[name]
            report.compare(f'checkpoint.model_state_dict.{name}', ours, value, EXACT)
        report.use('checkpoint.epoch')
        shapes = {name: list(value.shape) for name, value in _released_names(model).items()}
        for name, shape in content['all_state_dict_keys'].items():
            report.compare(f'all_state_dict_keys.{name}', shapes.pop(name, None), shape, EXACT)
        report.compare('all_state_dict_keys', sorted(shapes), [], EXACT)


def check_inference(report: Report, folder: Path) -> None:
    """Features, correlations, pooling, scores and the background rule, image by image."""
    with golden_model(folder) as model:
        for index, case in enumerate(report.content['cases']):
            _check_case(report, f'cases.{index}', case, model)


@torch.no_grad()
def _check_case(report: Report, name: str, case: dict, model: CLIPDINOiser) -> None:
    # The margins tell how far the thresholds are from the nearest value; nothing to compute.
    report.use(f'{name}.img', *(f'{name}.{key}' for key in case if key.endswith('_margin')))
    inputs = _normalise(case['img'])
    if 'padded' in case:
        padded = model.encoder.pad(inputs)
        report.compare(f'{name}.padded', model.pixels(padded), case['padded'], FEATURES)
        report.compare(f'{name}.clip_input', padded, case['clip_input'], FEATURES)
    features = model.encoder(inputs, frozenset({'tokens', 'mlp_input'}))
    report.compare(f'{name}.maskclip_v', features.tokens, case['maskclip_v'], FEATURES)
    report.compare(f'{name}.clip_proj_feats', features.patch, case['clip_proj_feats'], FEATURES)
    inner = features.mlp_input.flatten(2).transpose(1, 2)
    report.compare(f'{name}.clip_inter', inner, case['clip_inter'][:, 1:], FEATURES)
    alone = model.encoder.mlp_input(inputs).flatten(2).transpose(1, 2)
    report.compare(f'{name}.clip_inter', alone, case['clip_inter'][:, 1:], FEATURES)
    projected, foreground = model.guide.predict(features.mlp_input)
    report.compare(f'{name}.bkg_logit', foreground, case['bkg_logit'], FEATURES)
    correlation = patch_correlation(projected)
    report.compare(f'{name}.corrs_raw', correlation, case['corrs_raw'].flatten(2), FEATURES)
    encodings = model.encode_images(inputs)
    refined = torch.cat([encoding.features.patch for encoding in encodings])
    report.compare(f'{name}.refined_feats', refined, case['refined_feats'], FEATURES)
    maps = [model.score(encoding, model.classifier) for encoding in encodings]
    out = torch.cat([scores.maps for scores in maps])
    report.compare(f'{name}.out', out, case['out'], PROBABILITIES)
    if 'out_found' in case:
        with _background(model):
            found = model.score(encodings[0], model.classifier).maps
        report.compare(f'{name}.out_found', found, case['out_found'], PROBABILITIES)
        changed = int((found != out).any(1).sum())
        report.compare(f'{name}.found_changed', changed, case['found_changed'], EXACT)
    if 'out_image' in case:
        at_input = input_rows(maps[0], 0, maps[0].input_size[0])[None]
        report.compare(f'{name}.out_image', at_input, case['out_image'], PROBABILITIES)
    demo = torch.stack([_demo_labels(scores, model.encoder.stride[0]) for scores in maps])
    report.compare(f'{name}.out_demo', demo, case['out_demo'], LABELS)


def _demo_labels(scores: ScoreMaps, patch: int) -> Tensor:
    """The released demo keeps the padding while it upsamples and cuts it off afterwards."""
    height, width = (side * patch for side in scores.maps.shape[2:])
    whole = ScoreMaps(scores.maps, [(0, 0, height, width)], (height, width))
    labels, _ = labels_in_strips(whole, (height, width), lambda rows: rows.argmax(1), _STRIP_BYTES)
    return labels[: scores.input_size[0], : scores.input_size[1]]


@torch.no_grad()
def check_slide(report: Report, folder: Path) -> None:
    """Sliding windows, with and without the background rule."""
    content = report.content
    report.use('img', 'crop', 'stride', 'ori_shape')
    size = tuple(content['ori_shape'])
    with golden_model(folder) as model:
        model.inference_settings = InferenceSettings(
            'slide', content['crop'], content['stride'], window_batch=2
        )
        encoding = model.encode_image(_normalise(content['img']))
        maps = model.score(encoding, model.classifier)
        at_input = input_rows(maps, 0, maps.input_size[0])[None]
        report.compare('preds', at_input, content['preds'], PROBABILITIES)
        rows = [rows for _, _, rows in output_strips(maps, size, _STRIP_BYTES)]
        full = torch.cat(rows, dim=1)[None]
        report.compare('prob_ori', full.softmax(1), content['prob_ori'], PROBABILITIES)
        labels = model.segment_encoding(encoding, size)[None]
        report.compare('pred_ori', labels, content['pred_ori'], LABELS)
        with _background(model):
            maps = model.score(encoding, model.classifier)
            at_input = input_rows(maps, 0, maps.input_size[0])[None]
            report.compare('preds_found', at_input, content['preds_found'], PROBABILITIES)
            labels = model.segment_encoding(encoding, size)[None]
            report.compare('pred_ori_found', labels, content['pred_ori_found'], LABELS)


def check_teachers(report: Report, folder: Path) -> None:
    """The teachers' weights load under their published names; their signals are another file."""
    with golden_model(folder, teacher=True) as model:
        own = model.teacher.dino.vit.state_dict()
        found = model.teacher.found.encoder.vit.state_dict()
        for part, ours in (('dino_state_dict', own), ('found_vit_state_dict', found)):
            for name, value in report.content[part].items():
                report.compare(f'{part}.{name}', ours.pop(name), value, EXACT)
            report.compare(part, sorted(ours), [], EXACT)
        for name, value in report.content['found_decoder'].items():
            ours = model.teacher.found.decoder.state_dict()[name]
            report.compare(f'found_decoder.{name}', ours, value, EXACT)
        report.use('config')


@torch.no_grad()
def check_teacher_signals(report: Report, folder: Path) -> None:
    """DINO's features and correlations, FOUND's maps."""
    with golden_model(folder, teacher=True) as model:
        teacher = model.teacher
        for index, case in enumerate(report.content['cases']):
            name = f'cases.{index}'
            report.use(f'{name}.img', f'{name}.dino_margin')
            image = model.pixels(_normalise(case['img']))
            values = teacher.dino(image, 'values')
            grid = tuple(values.shape[2:])
            report.compare(f'{name}.dino_hw', list(grid), case['dino_hw'], EXACT)
            report.compare(f'{name}.dino_feats', _unit(values), case['dino_feats'], FEATURES)
            taught = teacher.look(image, grid)
            wanted = case['dino_corrs'].flatten(2)
            report.compare(f'{name}.dino_corrs', taught.affinity, wanted, FEATURES)
            keys = teacher.found.encoder(image, 'keys')
            report.compare(f'{name}.found_feats', keys, case['found_feats'], FEATURES)
            logits = teacher.found(image)
            report.compare(f'{name}.found_logits', logits, case['found_logits'], FEATURES)
            soft = logits.sigmoid()
            report.compare(f'{name}.found_soft_full', soft, case['found_soft_full'], PROBABILITIES)
            path = 'found_soft_resized'
            report.compare(f'{name}.{path}', taught.foreground, case[path], PROBABILITIES)
            smooth = F.interpolate(soft, grid, mode='bilinear', antialias=True)
            path = 'found_soft_resized_antialias'
            report.compare(f'{name}.{path}', smooth, case[path], PROBABILITIES)
        image = model.pixels(_normalise(report.content['cases'][0]['img']))
        for quantity in ('queries', 'keys'):
            path = f'dino_feats_{quantity[0]}_case0'
            ours = _unit(teacher.dino(image, quantity))
            report.compare(path, ours, report.content[path], FEATURES)


@torch.no_grad()
def check_teacher_model(report: Report, folder: Path) -> None:
    """The teacher-only model: true DINO correlations instead of learned ones."""
    content = report.content
    report.use('enc_type_feats', 'gamma', 'delta')
    quantity = {'q': 'queries', 'k': 'keys', 'v': 'values'}[content['enc_type_feats']]
    with golden_model(folder, guided_by=quantity, gamma=content['gamma']) as model:
        for index, case in enumerate(content['cases']):
            name = f'cases.{index}'
            report.use(f'{name}.img', *(f'{name}.{key}' for key in case if key.endswith('_margin')))
            encoding = model.encode_image(_normalise(case['img']))
            grid = tuple(encoding.features.patch.shape[2:])
            affinity = model.guide.look(case['img'], grid).affinity
            wanted = case['dino_corrs'].flatten(2)
            report.compare(f'{name}.dino_corrs', affinity, wanted, FEATURES)
            out = model.score(encoding, model.classifier).maps
            report.compare(f'{name}.out', out, case['out'], PROBABILITIES)
            with _background(model, content['delta']):
                found = model.score(encoding, model.classifier).maps
            report.compare(f'{name}.out_found', found, case['out_found'], PROBABILITIES)


@torch.no_grad()
def check_final_features(report: Report, folder: Path) -> None:
    """The ablation whose two layers read the final features."""
    content = report.content
    report.use('img', 'head')
    with golden_model(folder, head=content['head'], reads='patch') as model:
        inputs = _normalise(content['img'])
        projected, foreground = model.guide.predict(model.encoder(inputs).patch)
        report.compare('bkg_logit', foreground, content['bkg_logit'], FEATURES)
        correlation = patch_correlation(projected)
        report.compare('corrs_raw', correlation, content['corrs_raw'].flatten(2), FEATURES)
        out = model.score(model.encode_image(inputs), model.classifier).maps
        report.compare('out', out, content['out'], PROBABILITIES)


def check_training(report: Report, folder: Path) -> None:
    """Losses, gradients and optimizer steps, with the optimizer and schedule of the config."""
    content = report.content
    report.use('images', 'epochs', 'milestones')
    config = Config.fromfile(find_config(_SCHEDULE))
    with golden_model(folder, teacher=True) as model, DefaultScope.overwrite_default_scope('ovseg'):
        for name, value in content['init'].items():
            report.compare(f'init.{name}', model.guide.state_dict()[name], value, EXACT)
        wrapper = build_optim_wrapper(model.train(), config.optim_wrapper)
        settings = {**config.param_scheduler[0], 'milestones': content['milestones']}
        scheduler = PARAM_SCHEDULERS.build(settings, default_args={'optimizer': wrapper})
        report.compare('step_lr_gamma', settings['gamma'], content['step_lr_gamma'], EXACT)
        rates = {group['lr'] for group in wrapper.param_groups}
        report.compare('corr_lr', round(min(rates), 12), content['corr_lr'], EXACT)
        report.compare('found_lr', round(max(rates), 12), content['found_lr'], EXACT)
        for index, case in enumerate(content['iters']):
            images = content['images'][index % len(content['images'])]
            _check_step(report, f'iters.{index}', case, model, images, wrapper)
            scheduler.step()


def _check_step(
    report: Report,
    name: str,
    case: dict,
    model: CLIPDINOiser,
    images: Tensor,
    wrapper: OPTIM_WRAPPERS,
) -> None:
    rates = sorted({round(group['lr'], 12) for group in wrapper.param_groups})
    report.compare(f'{name}.lr', rates, case['lr'], EXACT)
    decays = {group['weight_decay'] for group in wrapper.param_groups}
    report.compare(f'{name}.weight_decay', decays, {case['weight_decay']}, EXACT)
    read = model.encoder.mlp_input(_normalise(images))
    with torch.no_grad():
        projected, foreground = model.guide.predict(read)
        taught = model.teacher.look(images, tuple(read.shape[2:]))
    logits = foreground.flatten(2)
    report.compare(f'{name}.bkg_logits', logits, case['bkg_logits'], _of(case['bkg_logits']))
    target = (taught.foreground > 0.5).flatten(2)
    report.compare(f'{name}.found_target', target, case['found_target'], LABELS)
    if 'dino_target' in case:
        clamped = patch_correlation(projected).clamp(min=0)
        path = 'pred_corrs_clamped'
        report.compare(f'{name}.{path}', clamped, case[path], FEATURES)
        report.compare(f'{name}.dino_target', taught.affinity > 0, case['dino_target'], LABELS)
    for path, value in (
        ('dino_loss', correlation_loss(projected, taught.affinity)),
        ('found_loss', foreground_loss(foreground, taught.foreground)),
    ):
        report.compare(f'{name}.{path}', value, case[path], FEATURES)
    loss = sum(model.loss(_normalise(images), []).values())
    report.compare(f'{name}.loss', loss.detach(), case['loss'], FEATURES)
    wrapper.zero_grad()
    loss.backward()
    own = dict(model.guide.named_parameters())
    for path, value in case['grads'].items():
        report.compare(f'{name}.grads.{path}', own[path].grad, value, _of(value))
    wrapper.step()
    for path, value in case['params_after'].items():
        report.compare(f'{name}.params_after.{path}', own[path].detach(), value, FEATURES)


def check_subset(report: Report, folder: Path) -> None:
    """The images of ImageNet that the published training drew."""
    from ovseg.datasets.imagenet_subset import IMAGENET_IMAGES, draw_subset

    content = report.content
    report.compare('dataset_len', IMAGENET_IMAGES, content['dataset_len'], EXACT)
    ours = draw_subset(content['dataset_len'], len(content['indices']), content['seed'])
    report.compare('indices', torch.tensor(ours), content['indices'], EXACT)
    report.use('seed')


def _unit(maps: Tensor) -> Tensor:
    return (maps / maps.norm(dim=1, keepdim=True)).flatten(2)


def _of(value: Tensor) -> Tolerance:
    """Gradients, and logits of many summands, are judged by their largest entry."""
    return Tolerance(atol=1e-5 * float(value.abs().max()))


def _normalise(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (_CLIP_MEAN, _CLIP_STD))
    return (image - mean) / std


@contextmanager
def _background(model: TrainingFreeSegmentor, certainty: float = 0.99) -> Iterator[None]:
    refiners = model.refiners
    model.refiners = [*refiners, LearnedBackground(certainty)]
    yield
    model.refiners = refiners


def _released_names(model: CLIPDINOiser) -> dict[str, Tensor]:
    """Everything the released module holds, under its names, from our parts."""
    clip = {name: value for name, value in model.clip.state_dict().items()}
    projection = clip['visual.proj'].T[:, :, None, None]
    names = {f'clip_backbone.backbone.{name}': value for name, value in clip.items()}
    names['clip_backbone._positional_embd'] = clip['visual.positional_embedding']
    names['clip_backbone.decode_head.class_embeddings'] = model.classifier.weight
    names['clip_backbone.decode_head.proj.weight'] = projection
    names.update(model.guide.state_dict())
    teacher = model.teacher
    for prefix, module in (
        ('vit_encoder', teacher.dino.vit),
        ('found_model.vit_encoder', teacher.found.encoder.vit),
        ('found_model.decoder', teacher.found.decoder),
    ):
        names.update({f'{prefix}.{name}': value for name, value in module.state_dict().items()})
    return names
