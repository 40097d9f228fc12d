from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_clip_models import VIT
from tiny_companions import COMPANIONS, DINO, Checkerboard
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.guides.mixer import Look
from ovseg.images import Images
from ovseg.refiners.mask_vote import majority_labels
from ovseg.scores.encoding import window_maps
from ovseg.scores.row_map import resized
from ovseg.segmentors import CorrCLIP

WORDS = 'cat, kitten; dog; grass; sky'
ENCODER = {
    'type': 'CorrCLIPEncoder',
    'companion': DINO,
    'spatial_blocks': 1,
    'position_resize': 'scale_factor',
    'padding': 'centred',
    'padding_multiple': 16,
}
SLIDE = {'mode': 'slide', 'crop_size': (40, 32), 'stride': (16, 16), 'window_batch': 3}
SIZES = [(50, 61), (50, 61), (25, 30)]


def bank_of(auxiliary=False, channels=16):
    generator = torch.Generator().manual_seed(3)
    sizes = {'keys': channels, 'embeddings': 24, **({'auxiliary': 24} if auxiliary else {})}
    return {
        'num_support': 3,
        **{name: torch.randn(12, size, generator=generator) for name, size in sizes.items()},
    }


def build(regions=None, seed=0, encoder=None, **settings):
    torch.manual_seed(seed)
    settings = {
        'test_cfg': SLIDE,
        'vocabulary': WORDS,
        'text': {'templates': 'single', 'cache_dir': None, 'combine': 'max'},
        **settings,
    }
    return CorrCLIP(
        regions=Checkerboard() if regions is None else regions,
        encoder={**ENCODER, **(encoder or {})},
        clip={'model': VIT, 'pretrained': 'random'},
        **settings,
    ).eval()


def version_2(**settings):
    return build(encoder={'companion_sees': 'image', 'merge_distance': None}, **settings)


def images_of(sizes, input_size=(48, 58)):
    generator = torch.Generator().manual_seed(1)
    pixels = [torch.randint(256, (*size, 3), generator=generator).byte().numpy() for size in sizes]
    inputs = [
        F.interpolate(
            torch.from_numpy(each).permute(2, 0, 1)[None].float() / 255,
            size=input_size,
            mode='bilinear',
        )
        for each in pixels
    ]
    return torch.cat(inputs) * 2 - 1, pixels


def samples_of(pixels, **meta):
    samples = []
    for number, image in enumerate(pixels):
        path = f'folder/{number}.jpg'
        info = {'ori_shape': image.shape[:2], 'img_path': path, **meta}
        samples.append(SegDataSample(metainfo=info))
        samples[-1].set_field(image, 'original_image', dtype=np.ndarray)
    return samples


def labels_of(model, inputs, pixels, **meta):
    samples = model.predict(inputs, samples_of(pixels, **meta))
    return [sample.pred_sem_seg.data[0] for sample in samples]


@pytest.mark.parametrize('make', [build, version_2], ids=['version 1', 'version 2'])
@pytest.mark.parametrize('test_cfg', [SLIDE, {'mode': 'whole'}], ids=['slide', 'whole'])
def test_a_batch_of_images_of_several_sizes_gives_what_each_gives_alone(make, test_cfg):
    model = make(test_cfg=test_cfg)
    inputs, pixels = images_of(SIZES)
    together = labels_of(model, inputs, pixels)
    for i, size in enumerate(SIZES):
        (alone,) = labels_of(model, inputs[i : i + 1], pixels[i : i + 1])
        assert together[i].shape == size
        assert (together[i] == alone).float().mean() > 0.99


def test_regions_are_found_once_an_image_at_its_own_size_and_have_one_label_each():
    source = Checkerboard()
    model = build(source)
    inputs, pixels = images_of(SIZES)
    for image, labels in zip(pixels, labels_of(model, inputs, pixels), strict=True):
        regions = torch.from_numpy(source.regions(image))
        assert all(len(labels[regions == value].unique()) == 1 for value in regions.unique()[1:])
    assert source.seen[:3] == [image.shape for image in pixels]


def test_labels_are_the_vote_on_what_was_decided_without():
    model = build()
    inputs, pixels = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs, pixels))[0]
    decision = model.segment(encoding, SIZES[0], keep_scores=True)
    labels, probabilities = decision.labels, decision.scores
    plain = probabilities.argmax(0)
    assert torch.equal(labels, majority_labels(plain, encoding.regions))
    assert not torch.equal(labels, plain)


def test_the_score_of_a_class_is_measured_after_the_vote():
    model = build()
    inputs, pixels = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs, pixels))[0]
    kept = model.segment(encoding, SIZES[0], keep_scores=True)
    for budget in (None, MemoryBudget(1e-3)):
        measured = model.segment(encoding, SIZES[0], measure=True, budget=budget)
        own = kept.scores.gather(0, kept.labels[None])[0]
        assert torch.equal(measured.labels, kept.labels)
        assert torch.allclose(measured.own, own, atol=1e-5)
    # Some pixels were given to a class that was not their best.
    assert (kept.scores.amax(0) - own).max() > 0.01


def test_strips_change_nothing():
    model = version_2(bank=bank_of())
    inputs, pixels = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs, pixels))[0]
    whole = model.segment(encoding, SIZES[0]).labels
    assert torch.equal(model.segment(encoding, SIZES[0], budget=MemoryBudget(1e-3)).labels, whole)


def test_version_2_equals_windows_of_the_large_map():
    model = version_2(test_cfg={'mode': 'whole'})
    inputs, pixels = images_of(SIZES[:1], input_size=(48, 64))
    encoding = model.encode(Images(inputs, pixels))[0]
    look = torch.from_numpy(pixels[0]).permute(2, 0, 1)[None] / 255
    look = F.interpolate(look, size=(48, 60), mode='bilinear')  # 50 x 61 in whole patches of 4
    large = F.interpolate(model.encoder.companion(look), size=(48, 64), mode='bilinear')
    similar = F.interpolate(F.normalize(large, dim=1), size=(12, 16), mode='bilinear')
    regions = torch.from_numpy(Checkerboard().regions(pixels[0]))[None, None].float()
    regions = F.interpolate(regions, size=(48, 64), mode='nearest')[0].long()
    wanted = model.encoder(inputs, look=Look(similar, regions)).patch
    assert torch.allclose(encoding.features.patch, wanted, atol=1e-4)


# The bank ------------------------------------------------------------------------------------


def test_support_is_averaged_in_region_by_region():
    model = version_2(bank=bank_of())
    inputs, pixels = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs, pixels))[0]
    classifier, support = model.classifier, encoding.support
    alone = replace(encoding, support=None)
    own = model.scores(alone, classifier, (48, 58)).rows(0, 48)
    both = model.scores(encoding, classifier, (48, 58))
    painted = (classifier.weight @ support.embeddings.T)[:, support.regions]
    wanted = (own + painted) / 2
    assert torch.allclose(both.rows(0, 48), wanted, atol=1e-6)
    assert torch.allclose(both.rows(11, 30), wanted[:, 11:30], atol=1e-6)


def test_a_second_clip_reads_its_own_embeddings_with_its_own_words():
    auxiliary = {'model': VIT, 'pretrained': 'random'}
    model = version_2(bank=bank_of(auxiliary=True), auxiliary_clip=auxiliary)
    inputs, pixels = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs, pixels))[0]
    support = encoding.support
    found = model.scores(encoding, model.classifier, (48, 58)).of_regions
    first = model.classifier.weight @ support.embeddings.T
    second = model.classifier.auxiliary @ support.auxiliary.T
    assert torch.allclose(found, (first + second) / 2, atol=1e-6)
    assert not torch.allclose(model.classifier.auxiliary, model.classifier.weight, atol=1e-2)
    assert not any(key.startswith('auxiliary_clip') for key in model.state_dict())


def test_rows_for_a_bank_are_unit_means_over_the_regions_at_the_images_own_size():
    model = version_2()
    inputs, pixels = images_of(SIZES[:2])
    with torch.no_grad():
        found = model.region_rows(Images(inputs, pixels))
        encodings = model.encode(Images(inputs, pixels))
    for image, encoding, rows in zip(pixels, encodings, found, strict=True):
        regions = torch.from_numpy(Checkerboard().regions(image))
        raw = window_maps(encoding, encoding.features.patch, SIZES[0], 'input')
        pixels_of = resized(raw, SIZES[0]).whole(model.budget)
        seen = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        seen = F.interpolate(seen, size=(48, 60), mode='bilinear')  # whole patches of 4
        seen = F.interpolate(model.encoder.companion(seen), size=SIZES[0], mode='bilinear')
        seen = F.normalize(seen, dim=1)[0]
        ids = regions.unique()[1:]  # 0 is what no region claimed
        assert len(rows.keys) == len(rows.embeddings) == len(ids)
        for number, value in enumerate(ids):
            inside = regions == value
            for row, features in ((rows.keys, seen), (rows.embeddings, pixels_of)):
                wanted = F.normalize(features[:, inside].mean(1), dim=0)
                assert torch.allclose(row[number].float(), wanted, atol=2e-3)
    with pytest.raises(UserError, match="need model.encoder.companion_sees='image'"):
        build().region_rows(Images(inputs, pixels))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'bank': bank_of()}, "model.bank needs model.encoder.companion_sees='image'"),
        ({'auxiliary_clip': {'model': VIT, 'pretrained': 'random'}}, 'goes with model.bank'),
        ({'test_cfg': {**SLIDE, 'mode': 'splice'}}, 'test_cfg.mode of CorrCLIP'),
        ({'pixel_refiner': {'type': 'PAMR'}}, 'leave out model.guide, model.refiners'),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_another_encoder_is_refused():
    with pytest.raises(UserError, match="must have type='CorrCLIPEncoder', got CLIPViTEncoder"):
        CorrCLIP(Checkerboard(), {}, clip={'model': VIT, 'pretrained': 'random'})


def test_regions_vote_on_what_any_mixer_made():
    encoder = {'type': 'ProxyCLIPEncoder', 'companion': DINO, 'padding': 'centred'}
    clip = {'model': VIT, 'pretrained': 'random'}
    text = {'templates': 'single', 'cache_dir': None}
    model = CorrCLIP(
        Checkerboard(), encoder, clip=clip, vocabulary=WORDS, text=text, test_cfg=SLIDE
    )
    inputs, pixels = images_of(SIZES[:1])
    (labels,) = labels_of(model.eval(), inputs, pixels)
    regions = torch.from_numpy(Checkerboard().regions(pixels[0]))
    assert all(len(labels[regions == value].unique()) == 1 for value in regions.unique()[1:])


def test_two_clips_go_with_two_kinds_of_embeddings_and_separate_queries():
    second = {'auxiliary_clip': {'model': VIT, 'pretrained': 'random'}}
    with pytest.raises(UserError, match='go together'):
        version_2(bank=bank_of(), **second)
    with pytest.raises(UserError, match='go together'):
        version_2(bank=bank_of(auxiliary=True))
    with pytest.raises(UserError, match="needs model.text.combine='max'"):
        text = {'templates': 'single', 'cache_dir': None}
        version_2(bank=bank_of(auxiliary=True), text=text, **second)


# Names of files ------------------------------------------------------------------------------


def test_region_files_are_found_by_the_samples_path(tmp_path):
    inputs, pixels = images_of(SIZES)
    for number, image in enumerate(pixels):
        np.save(tmp_path / f'{number}.npy', Checkerboard().regions(image))
    model = build({'type': 'RegionFolder', 'folder': str(tmp_path)})
    wanted = labels_of(build(), inputs, pixels)
    for found, other in zip(labels_of(model, inputs, pixels), wanted, strict=True):
        assert torch.equal(found, other)
    with pytest.raises(UserError, match='do not fit a mirrored one'):
        labels_of(model, inputs, pixels, flip=True)
    with pytest.raises(UserError, match='which this image has not'):
        model.encode(Images(inputs, pixels))


def test_a_mirrored_image_gives_mirrored_labels():
    model = build()
    inputs, pixels = images_of(SIZES[:1])
    mirrored = np.ascontiguousarray(pixels[0][:, ::-1])
    # A sample keeps the image as it is on disk; what the network sees is mirrored.
    (found,) = labels_of(model, inputs.flip(3), pixels, flip=True)
    (wanted,) = labels_of(model, inputs.flip(3), [mirrored])
    assert torch.equal(found.flip(1), wanted)


def test_without_originals_regions_are_those_of_the_input():
    model = build()
    inputs, _ = images_of(SIZES[:1])
    encoding = model.encode(Images(inputs))[0]
    assert encoding.regions.shape == (48, 58)
    assert model.encode_decode(inputs, []).shape == (1, 4, 48, 58)


def test_the_protocol_names_regions_and_companion():
    facts = build(encoder={'companion': COMPANIONS['dinov2']}).protocol()
    assert 'DINOv2Companion' in facts['last_block'] and facts['bank'] == 'none'
    assert 'Checkerboard' in facts['regions']
