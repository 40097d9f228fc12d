from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_clip_models import RESNET, VIT

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.refiners import LearnedBackground
from ovseg.segmentors import CLIPDINOiser, TrainingFreeSegmentor

DINO = {
    'model': {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    'pretrained': 'random',
}
TEACHER = {
    'type': 'DINOTeacher',
    'dino': DINO,
    'found': {'dino': DINO, 'decoder': 'random'},
}
GUIDE = {'type': 'DINOiserGuide', 'in_channels': 32, 'channels': 8}


def model(architecture=VIT, guide=GUIDE, teacher=TEACHER, **settings):
    torch.manual_seed(0)
    return CLIPDINOiser(
        clip={'model': architecture, 'pretrained': 'random'},
        encoder={'last_block': 'maskclip', 'padding': 'black', 'mlp_input_layer': -2},
        guide=guide,
        teacher=teacher,
        text={'templates': 'single', 'cache_dir': None},
        **{'refiners': [{'type': 'ScoreSoftmax'}], 'vocabulary': 'cat; sofa; wall', **settings},
    )


def test_only_the_guide_trains_and_gets_gradients():
    segmentor = model().train()
    losses = segmentor.loss(torch.randn(2, 3, 32, 48), [])
    assert set(losses) == {'loss_correlation', 'loss_foreground'}
    sum(losses.values()).backward()
    trained = {name for name, p in segmentor.named_parameters() if p.requires_grad}
    assert trained == {f'guide.{layer}.{kind}' for layer in ('obj_proj', 'bkg_decoder')
                       for kind in ('weight', 'bias')}  # fmt: skip
    assert all(p.grad is None for name, p in segmentor.named_parameters() if name not in trained)
    assert all(dict(segmentor.named_parameters())[name].grad.abs().sum() > 0 for name in trained)


@pytest.mark.parametrize('mode', ['whole', 'splice'])
def test_the_losses_are_those_of_the_formula(mode):
    sizes = {} if mode == 'whole' else {'crop_size': 16, 'stride': 8}
    segmentor = model(test_cfg={'mode': mode, **sizes})
    inputs = torch.randn(2, 3, 32, 32)
    encodings = [segmentor.encode(Images(image[None]))[0] for image in inputs]
    grid = encodings[0].features.patch.shape[2:]
    read = segmentor._read(inputs)
    projected, foreground = segmentor.guide.predict(read)
    taught = segmentor.teacher.look(segmentor.pixels(inputs), tuple(grid))
    total = {'loss_correlation': [], 'loss_foreground': []}
    flat = torch.nn.functional.normalize(projected, dim=1).flatten(2)
    for b in range(2):
        for n in range(flat.shape[2]):
            for m in range(flat.shape[2]):
                logit = (flat[b, :, n] * flat[b, :, m]).sum().clamp(min=0)
                wanted = (taught.affinity[b, n, m] > 0).float()
                total['loss_correlation'].append(cross_entropy(logit, wanted))
        for logit, share in zip(
            foreground[b].flatten(), taught.foreground[b].flatten(), strict=True
        ):
            total['loss_foreground'].append(cross_entropy(logit, (share > 0.5).float()))
    losses = segmentor.loss(inputs, [])
    for name, parts in total.items():
        assert torch.allclose(losses[name], torch.stack(parts).mean(), atol=1e-5), name


def cross_entropy(logit, wanted):
    share = logit.sigmoid()
    return -(wanted * share.log() + (1 - wanted) * (1 - share).log())


def test_a_checkpoint_holds_the_guide_only_and_loads(tmp_path):
    segmentor = model()
    state = segmentor.state_dict()
    assert set(state) == {f'guide.{name}' for name in segmentor.guide.state_dict()}
    torch.save({'state_dict': state}, tmp_path / 'ours.pth')
    published = {name.removeprefix('guide.'): value for name, value in state.items()}
    torch.save({'epoch': 99, 'model_state_dict': published}, tmp_path / 'last.pt')
    for name in ('ours.pth', 'last.pt'):
        other = model(teacher=None)
        with torch.no_grad():
            other.guide.obj_proj.bias.add_(1)
        load_checkpoint_strict(other, tmp_path / name)
        assert all(torch.equal(other.state_dict()[key], state[key]) for key in state)
    published.pop('obj_proj.bias')
    torch.save({'epoch': 99, 'model_state_dict': published}, tmp_path / 'short.pt')
    with pytest.raises(UserError, match='1 missing \\(guide.obj_proj.bias\\)'):
        load_checkpoint_strict(model(), tmp_path / 'short.pt')


def predict(segmentor, inputs):
    samples = [SegDataSample(metainfo={'ori_shape': tuple(inputs.shape[-2:])}) for _ in inputs]
    return torch.stack([s.pred_sem_seg.data[0] for s in segmentor.predict(inputs, samples)])


@pytest.mark.parametrize('test_cfg', [{}, {'mode': 'slide', 'crop_size': 24, 'stride': 16}])
def test_the_learned_background_is_decided_image_by_image(test_cfg):
    segmentor = model(
        teacher=None,
        vocabulary={'classes': ['background', 'cat', 'sofa'], 'rejection': {'kind': 'class_zero'}},
        refiners=[{'type': 'ScoreSoftmax'}, {'type': 'LearnedBackground'}],
        test_cfg=test_cfg,
    ).eval()
    images = torch.randn(3, 3, 40, 48)
    together = predict(segmentor, images)
    alone = torch.cat([predict(segmentor, image[None]) for image in images])
    assert (together != alone).float().mean() < 0.001
    with torch.no_grad():
        segmentor.guide.bkg_decoder.weight.zero_()
        segmentor.guide.bkg_decoder.bias.fill_(-9.0)
        segmentor.refiners[1] = LearnedBackground(certainty=1.0)
    assert not predict(segmentor, images).any()
    with torch.no_grad():
        segmentor.guide.bkg_decoder.bias.fill_(9.0)
    everywhere_an_object = predict(segmentor, images)
    segmentor.refiners.pop()
    assert torch.equal(everywhere_an_object, predict(segmentor, images))


def test_words_without_a_background_leave_the_learned_background_idle():
    refiners = [{'type': 'ScoreSoftmax'}, {'type': 'LearnedBackground', 'certainty': 1.0}]
    segmentor = model(teacher=None, refiners=refiners).eval()
    images = torch.randn(1, 3, 32, 32)
    labels = predict(segmentor, images)
    segmentor.refiners.pop()
    assert torch.equal(labels, predict(segmentor, images))


def test_the_teacher_can_guide_alone():
    segmentor = TrainingFreeSegmentor(
        clip={'model': VIT, 'pretrained': 'random'},
        guide=TEACHER,
        text={'templates': 'single', 'cache_dir': None},
        vocabulary='cat; sofa',
    ).eval()
    assert predict(segmentor, torch.randn(2, 3, 40, 33)).shape == (2, 40, 33)
    assert not segmentor.state_dict()
    assert 'DINOTeacher' in segmentor.protocol()['guide']


def test_mmsegs_training_pipeline_reaches_the_loss():
    segmentor = model()
    inputs = [torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    samples = [SegDataSample(metainfo={'img_shape': (32, 32)}) for _ in inputs]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, 32, 32, dtype=torch.uint8))
    data = segmentor.data_preprocessor({'inputs': inputs, 'data_samples': samples}, True)
    assert torch.isfinite(sum(segmentor(**data, mode='loss').values()))


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: model(guide=TEACHER), "must be a DINOiserGuide, got 'DINOTeacher'"),
        (lambda: model(teacher={**TEACHER, 'found': None}), 'needs `found`'),
        (lambda: model(teacher=None).loss(torch.zeros(1, 3, 32, 32), []), 'needs model.teacher'),
        (
            lambda: predict(without_guide(), torch.zeros(1, 3, 32, 32)),
            'LearnedBackground needs a guide',
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(build, message):
    with pytest.raises(UserError, match=message):
        build()


def without_guide():
    return TrainingFreeSegmentor(
        clip={'model': VIT, 'pretrained': 'random'},
        refiners=[{'type': 'ScoreSoftmax'}, {'type': 'LearnedBackground'}],
        text={'templates': 'single', 'cache_dir': None},
        vocabulary='cat; sofa',
    )


def test_layers_beyond_the_model_are_named():
    segmentor = model()
    for layer in (-1, -4, 0):
        segmentor.encoder.mlp_input_layer = layer
        with pytest.raises(UserError, match=f'must lie in -3..-2 .* got {layer}'):
            segmentor.encode(Images(torch.zeros(1, 3, 32, 32)))


def test_a_resnet_has_no_inner_features_for_the_guide():
    with pytest.raises(UserError, match='encoder'):
        model(RESNET)


def test_the_runners_initialisation_leaves_the_frozen_towers_alone():
    segmentor = model()
    before = {name: value.clone() for name, value in segmentor.teacher.state_dict().items()}
    before.update({f'clip.{k}': v.clone() for k, v in segmentor.clip.state_dict().items()})
    segmentor.init_weights()
    after = dict(segmentor.teacher.state_dict())
    after.update({f'clip.{name}': value for name, value in segmentor.clip.state_dict().items()})
    assert all(torch.equal(before[name], value) for name, value in after.items())
