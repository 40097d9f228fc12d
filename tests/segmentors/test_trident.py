from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_clip_models import MODELS
from tiny_sam2s import TINY_SAM2
from tiny_sams import TINY_SAM

from ovseg.affinity import LastBlockSpec
from ovseg.encoders import CLIPViTEncoder
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.images.windows import whole_patches
from ovseg.precision import set_precision
from ovseg.registry import MODELS as REGISTRY
from ovseg.scores.splicing import join_windows

DINO = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
REFINEMENT = {'coarse_threshold': 0.0, 'min_area': 4, 'iou_threshold': 0.0}


def trident(seed=0, dino_patch=8, **settings):
    torch.manual_seed(seed)
    config = {
        'clip': {'model': MODELS['vit'], 'pretrained': 'random'},
        'companion': {
            'type': 'DINOCompanion',
            'model': {**DINO, 'patch_size': dino_patch},
            'pretrained': 'random',
        },
        'sam': {'model': TINY_SAM, 'pretrained': 'random'},
        'vocabulary': 'cat; sofa; wall; tree',
        'text': {'cache_dir': None, 'templates': 'single'},
        'test_cfg': {
            'mode': 'splice',
            'crop_size': 32,
            'stride': 16,
            'upsampling': 'direct',
            'window_batch': 3,
        },
        **settings,
    }
    return REGISTRY.build({'type': 'Trident', '_scope_': 'ovseg', **config}).eval()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_input(model, image):
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
    return model.data_preprocessor({'inputs': [bgr]})['inputs']


@torch.no_grad()
def test_windows_at_once_and_blocks_of_sam_change_nothing():
    image = picture(60, 90)
    outcomes = []
    for at_once, megabytes in ((1, 1e-9), (100, 64)):
        model = trident(refinement=REFINEMENT)
        sam = {'model': TINY_SAM, 'pretrained': 'random', 'block_megabytes': megabytes}
        test_cfg = {'mode': 'splice', 'crop_size': 32, 'stride': 16, 'window_batch': at_once}
        model = trident(refinement=REFINEMENT, sam=sam, test_cfg=test_cfg)
        outcomes.append(model.encode(Images(as_input(model, image), [image]))[0])
    first, second = outcomes
    assert torch.allclose(first.features.patch, second.features.patch, atol=1e-5)
    assert torch.allclose(first.sam.features, second.sam.features, atol=1e-5)


@torch.no_grad()
def test_sam_runs_once_an_image_for_guide_and_refinement(monkeypatch):
    model = trident(refinement=REFINEMENT)
    runs = []
    trunk = model.sam.trunk
    monkeypatch.setattr(model.sam, 'trunk', lambda frame: runs.append(1) or trunk(frame))
    image = picture(40, 50)
    (encoding,) = model.encode(Images(as_input(model, image), [image]))
    for words in ('cat; dog', 'sofa; wall; sky'):
        model.set_vocabulary(words)
        model.segment(encoding, (40, 50))
    assert len(runs) == 1


@torch.no_grad()
def test_columns_are_seen_one_by_one_and_the_whole_only_for_refinement(monkeypatch):
    image = picture(32, 64)
    for refinement, sizes in ((None, [(64, 64)] * 2), (REFINEMENT, [(64, 64)] * 2 + [(32, 64)])):
        model = trident(refinement=refinement, sam_columns=2)
        seen = []
        trunk = model.sam.trunk

        def watched(frame, seen=seen, trunk=trunk):
            seen.append(frame.input_size)
            return trunk(frame)

        monkeypatch.setattr(model.sam, 'trunk', watched)
        (encoding,) = model.encode(Images(as_input(model, image), [image]))
        assert seen == sizes
        assert encoding.features.patch.shape[2:] == (8, 16)


@torch.no_grad()
def test_without_originals_sam_sees_the_inputs():
    model = trident()
    image = picture(40, 56)
    inputs = as_input(model, image)
    (given,) = model.encode(Images(inputs, [image]))
    (missing,) = model.encode(Images(inputs))
    assert torch.allclose(given.features.patch, missing.features.patch, atol=1e-5)


@torch.no_grad()
def test_mmseg_reads_the_original_from_the_sample_and_mirrors_it():
    model = trident(refinement=REFINEMENT)
    image = picture(40, 56)
    samples = []
    for flip in (False, True):
        shown = image[:, ::-1].copy() if flip else image
        sample = SegDataSample(metainfo={'ori_shape': (40, 56), 'flip': flip})
        sample.set_field(image, 'original_image', dtype=np.ndarray)
        samples += model.predict(as_input(model, shown), [sample])
        if flip:
            (encoding,) = model.encode(Images(as_input(model, shown), [shown]))
            wanted = model.segment(encoding, (40, 56)).labels.flip(-1)
            assert torch.equal(samples[1].pred_sem_seg.data[0], wanted)
    assert samples[0].pred_sem_seg.data.shape == (1, 40, 56)


def test_a_sample_without_its_original_says_what_to_set():
    model = trident()
    with pytest.raises(UserError, match='set keep_original=True in the data set'):
        model.predict(torch.zeros(1, 3, 40, 48), [SegDataSample(metainfo={'ori_shape': (4, 4)})])


def test_only_words_are_in_a_checkpoint():
    assert not trident().state_dict()


def test_the_protocol_names_all_three_models():
    protocol = trident(refinement=REFINEMENT).protocol()
    assert 'DINOCompanion(random tokens)' in protocol['last_block']
    assert 'SAM custom (random)' in protocol['guide']
    assert 'iou_threshold=0.0' in protocol['refinement']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'clip': {'model': MODELS['resnet'], 'pretrained': 'random'}}, 'choose a ViT'),
        ({'proxy': {'alpha': 1}}, r"model.proxy has no setting 'alpha'"),
        ({'sam_columns': 0}, 'sam_columns must be at least 1, got 0'),
        ({'pixel_refiner': {'type': 'PAMR'}}, 'remove model.guide and model.pixel_refiner'),
        ({'test_cfg': {'mode': 'whole'}}, "needs test_cfg.mode='splice'"),
        (
            {'test_cfg': {'mode': 'splice', 'crop_size': 36, 'stride': 12}},
            r'multiple of CLIP.s patch \(8, 8\)',
        ),
        ({'refinement': {'min_area': -1}}, 'min_area must be at least 0'),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        trident(**settings)


@pytest.mark.parametrize(
    ('size', 'patch', 'crop', 'wanted'),
    [
        ((448, 627), 16, 336, (464, 640)),
        ((336, 447), 14, 336, (336, 448)),
        ((100, 90), 16, 112, (112, 112)),
        # Both sides whole patches, one below the window: the released code crashes here.
        ((320, 480), 16, 336, (336, 480)),
    ],
)
def test_images_are_stretched_to_whole_patches(size, patch, crop, wanted):
    assert whole_patches(size, (patch, patch), (crop, crop)) == wanted


@pytest.mark.parametrize('dino_patch', [8, 4])
@torch.no_grad()
def test_a_finer_companion_makes_a_finer_map(dino_patch):
    model = trident(dino_patch=dino_patch)
    spliced = model.spliced(as_input(model, picture(40, 56)))
    assert spliced.shape == (1, 32, 40 // dino_patch, 56 // dino_patch)


def test_windows_that_overlap_are_averaged_after_a_resize_to_the_nearest_whole_factor():
    maps = torch.stack([torch.zeros(2, 7, 7), torch.ones(2, 7, 7)])
    boxes = [(0, 0, 112, 112), (0, 56, 112, 168)]
    joint = join_windows(maps, boxes, (112, 168), (14, 14), (56, 56))
    assert joint.shape == (1, 2, 8, 12)
    assert joint[0, 0, 0].tolist() == [0.0] * 4 + [0.5] * 4 + [1.0] * 4


def test_strides_finer_than_a_patch_make_finer_cells():
    maps = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    boxes = [(0, 0, 16, 16), (0, 4, 16, 20)]
    joint = join_windows(maps, boxes, (16, 24), (8, 8), (4, 4))
    assert joint.shape == (1, 1, 4, 6)
    assert joint[0, 0, 0, :5].tolist() == [0.0, 0.5, 0.5, 0.5, 1.0]


def test_a_companion_whose_grid_does_not_divide_the_patch_is_refused():
    with pytest.raises(UserError, match=r'is 3 times as fine.*does not divide the patch \(8, 8\)'):
        join_windows(torch.zeros(1, 1, 12, 12), [(0, 0, 32, 32)], (32, 32), (8, 8), (16, 16))


@torch.no_grad()
def test_residual_and_mlp_of_the_last_block_stay_where_asked():
    image = picture(32, 32)
    outcomes = {}
    for residual in (False, True):
        for ffn in (False, True):
            # Patches that see only themselves: what is left is the block with values alone.
            model = trident(proxy={'beta': 100.0, 'residual': residual, 'ffn': ffn})
            spliced = model.spliced(as_input(model, image))
            encoder = CLIPViTEncoder(
                model.clip.visual, LastBlockSpec('value', residual, ffn), 'scale_factor'
            )
            wanted = encoder(as_input(model, image)).patch
            ours = model.encoder.to_text_space(spliced)
            assert torch.allclose(ours, wanted, atol=1e-5)
            outcomes[residual, ffn] = ours
    assert not torch.allclose(outcomes[True, True], outcomes[False, True], atol=1e-3)


def with_sam2(**settings):
    pytest.importorskip('transformers', reason='SAM 2 needs the extra `transformers`')
    sam = {'model': TINY_SAM2, 'pretrained': 'random'}
    return trident(refinement={**REFINEMENT, 'iou_threshold': -1.0, 'sam': sam}, **settings)


@torch.no_grad()
def test_a_sam_2_may_refine_while_the_first_one_aggregates():
    model, image = with_sam2(), picture(40, 56)
    inputs = as_input(model, image)
    (encoding,) = model.encode(Images(inputs, [image]))
    # The correlation is the first SAM's, whoever refines.
    (own,) = trident(refinement=REFINEMENT).encode(Images(inputs, [image]))
    assert torch.equal(encoding.features.patch, own.features.patch)
    seen = model.prompted.embed(image)
    assert all(map(torch.equal, encoding.sam.finer, seen.finer))
    decision = model.segment(encoding, (40, 56))
    coarse = trident().segment(own, (40, 56))
    refined = model.refinement(model.prompted, seen, coarse.labels, coarse.shares)
    assert torch.equal(decision.labels, refined.labels) and torch.equal(decision.own, refined.own)
    assert len(refined.boxes) > 0
    assert 'by custom (random)' in model.protocol()['refinement']
    assert not model.state_dict()


def test_a_sam_2_is_cast_as_the_first_one_is():
    model = with_sam2()
    set_precision(model, 'bfloat16')
    for sam, encoder in ((model.sam.sam, 'image_encoder'), (model.prompted.sam, 'vision_encoder')):
        kinds = {
            part: {value.dtype for value in getattr(sam, part).parameters()}
            for part in (encoder, 'prompt_encoder', 'mask_decoder')
        }
        assert kinds.pop(encoder) == {torch.bfloat16, torch.float32}
        assert set(map(frozenset, kinds.values())) == {frozenset({torch.float32})}
    image = picture(40, 56)
    with torch.no_grad():
        (encoding,) = model.encode(Images(as_input(model, image), [image]))
        assert model.segment(encoding, (40, 56)).labels.shape == (40, 56)


def test_a_sam_2_has_no_correlation():
    with pytest.raises(UserError, match=r'SAM 2 goes into model\.refinement\.sam'):
        trident(sam={'model': TINY_SAM2, 'pretrained': 'random'})


def test_a_companion_without_a_patch_grid_is_refused():
    companion = {'type': 'SAMCompanion', 'model': TINY_SAM, 'pretrained': 'random'}
    with pytest.raises(UserError, match='needs a patch grid, which SAMCompanion'):
        trident(companion=companion)
