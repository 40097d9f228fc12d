from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_ovseg import EMBEDDED, build, config, embedded_config, give_masks, plain_scores
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.config_files import read_config
from ovseg.engine.checkpoint import load_state_strict
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.regions.region_scores import region_probabilities
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.text.cosine import cosine_logits
from ovseg.training import MaskAdaptation
from ovseg.vocabulary import Rejection
from ovseg.zoo import resolve_model

SIZE, ORIGINAL = (50, 77), (61, 90)


def write_adapted(folder):
    """Files of a fine-tuned image tower, and of mask prompts for it."""
    files = []
    for part, name in (('image_tower', 'tower.pth'), ('mask_prompts', 'prompts.pth')):
        before = files[-1] if files else None
        model = MaskAdaptation(EMBEDDED, part, fine_tuned=before, prompt_depth=2)
        for value in model.parameters():
            if value.requires_grad:
                value.data.add_(0.25)
        files.append(str(folder / name))
        torch.save(model.state_dict(), files[-1])
    return files


def embedded(seed=0, **settings):
    """With the CLIP that ships with the package, whose weights the config loads."""
    return build(seed, **embedded_config(**{'vocabulary': 'sky; grass', **settings}))


def pictures(count=1, size=SIZE):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 5, 7, generator=generator) * 255
    images = F.interpolate(coarse, size, mode='bilinear').round().to(torch.uint8)
    return list(images)


def prepared(model, images, sizes=(ORIGINAL,)):
    """Network inputs and samples of BGR images."""
    samples = [
        SegDataSample(metainfo=dict(ori_shape=size, img_shape=tuple(image.shape[1:])))
        for image, size in zip(images, sizes, strict=True)
    ]
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=samples), False)
    return data['inputs'], data['data_samples']


def masks(valid=(True, True, False, True), spread=3.0):
    """Logits of masks over an image padded to 64 x 96 pixels; invalid ones are 0.38 at most."""
    generator = torch.Generator().manual_seed(5)
    logits = spread * torch.randn(len(valid), 16, 24, generator=generator)
    for query, is_valid in enumerate(valid):
        if not is_valid:
            logits[query].clamp_(max=-0.5)
    return logits


def check_against_plain(model, logits, weight, image, original=ORIGINAL):
    embeddings = give_masks(model, logits)
    inputs, samples = prepared(model, [image], [original])
    (encoding,) = model.encode(Images(inputs))
    decision = model.segment(encoding, original, keep_scores=True)
    labels, scores = decision.labels, decision.scores
    wanted = plain_scores(model, image.flip(0), logits, embeddings, original, weight)
    sums = model.scores(encoding, model.classifier, original).whole(MemoryBudget(64))
    assert torch.allclose(sums, wanted, rtol=1e-4, atol=1e-5)
    shares = wanted / wanted.sum(0).clamp_min(1e-12)
    assert torch.allclose(scores, shares, rtol=1e-4, atol=1e-5)
    top = wanted.topk(2, 0).values
    clear = top[0] - top[1] > 1e-4
    assert clear.float().mean() > 0.95
    for found in (labels, model.predict(inputs, samples)[0].pred_sem_seg.data[0]):
        assert found.shape == original
        assert torch.equal(found[clear], wanted.argmax(0)[clear])
    return labels


@pytest.mark.parametrize('original', [SIZE, ORIGINAL, (33, 40)])
@pytest.mark.parametrize('weight', [0.7, 0.45, None])
def test_labels_are_those_of_all_masks_and_classes_at_full_size(weight, original):
    model = build(ensemble=dict(enabled=False) if weight is None else dict(weight=weight))
    labels = check_against_plain(model, masks(), weight, pictures()[0], original)
    assert len(labels.unique()) > 1


@pytest.mark.parametrize('valid', [(False, False, False), (False, True, False)])
def test_no_valid_mask_and_a_single_one(valid):
    # The released code stops at either.
    check_against_plain(build(), masks(valid), 0.7, pictures()[0])


def test_weight_zero_leaves_only_clip_and_the_masks_that_it_saw():
    model, logits = build(ensemble=dict(weight=0.0)), masks()
    give_masks(model, logits)
    inputs, _ = prepared(model, pictures())
    (encoding,) = model.encode(Images(inputs))
    found = model.score_proposals(encoding, model.classifier)
    assert found.queries.tolist() == [0, 1, 3]
    seen = encoding.features.embeddings
    wanted = region_probabilities(cosine_logits(seen, model.classifier.weight), 4)
    assert torch.equal(found.scores, wanted)
    assert model.segment(encoding, ORIGINAL).labels.shape == ORIGINAL


def test_the_ensemble_switched_off_never_runs_clip():
    model = build(ensemble=dict(enabled=False))
    model.clip.visual.forward = model.clip.visual.states = None
    inputs, samples = prepared(model, pictures())
    assert model.predict(inputs, samples)[0].pred_sem_seg.data.shape == (1, *ORIGINAL)


def test_images_of_a_batch_do_not_see_each_other():
    model = build()
    images = pictures(3)
    sizes = [ORIGINAL, SIZE, (33, 40)]
    together = model.predict(*prepared(model, images, sizes))
    for image, size, sample in zip(images, sizes, together, strict=True):
        (alone,) = model.predict(*prepared(model, [image], [size]))
        labels = sample.pred_sem_seg.data
        assert labels.shape == (1, *size)
        assert (labels == alone.pred_sem_seg.data).float().mean() > 0.999


def test_clip_sees_the_pixels_as_they_were_read():
    model = build()
    image = pictures()[0]
    inputs, _ = prepared(model, [image])
    assert torch.equal(model.pixels(inputs)[0], image.flip(0).float())


def test_an_encoding_answers_for_other_words_without_the_encoder():
    model = build()
    give_masks(model, masks())
    inputs, _ = prepared(model, pictures())
    (encoding,) = model.encode(Images(inputs))
    model.set_vocabulary('tree; cat; red car')
    labels = model.segment(encoding, ORIGINAL).labels
    (fresh,) = model.encode(Images(inputs))
    assert torch.equal(labels, model.segment(fresh, ORIGINAL).labels)
    model.backbone = model.clip.visual = None  # nothing of an image is asked again
    model.set_vocabulary('cat; sofa; wall; sky')
    decision = model.segment(encoding, ORIGINAL, keep_scores=True)
    again, scores = decision.labels, decision.scores
    assert torch.equal(again, scores.argmax(0)) and len(scores) == 4


@pytest.mark.parametrize('megabytes', [0.01, 100.0])
def test_pixels_below_the_threshold_are_rejected(megabytes):
    model = build()
    give_masks(model, masks())
    (encoding,) = model.encode(Images(prepared(model, pictures())[0]))
    decision = model.segment(encoding, ORIGINAL, keep_scores=True)
    plain, sums = decision.labels, decision.scores
    shares = (sums / sums.sum(0)).max(0).values
    threshold = float(shares.median())
    model.set_vocabulary('cat; sofa; wall; sky', Rejection('threshold', threshold))
    decision = model.segment(encoding, ORIGINAL, keep_scores=True, budget=MemoryBudget(megabytes))
    labels, given = decision.labels, decision.scores
    wanted = torch.where(shares < threshold, 0, plain + 1)
    clear = (shares - threshold).abs() > 1e-5
    assert torch.equal(labels[clear], wanted[clear]) and 0.4 < (labels == 0).float().mean() < 0.6
    assert torch.allclose(given[1:].max(0).values, shares, atol=1e-5)


def test_classes_of_little_area_are_taken_out():
    model = build()
    give_masks(model, masks())
    (encoding,) = model.encode(Images(prepared(model, pictures())[0]))
    decision = model.segment(encoding, ORIGINAL, keep_scores=True)
    plain, sums = decision.labels, decision.scores
    counts = plain.flatten().bincount(minlength=4)
    present = sorted(count for count in counts.tolist() if count)
    share = (present[0] + present[1]) / 2 / plain.numel()
    model.set_vocabulary(
        'cat; sofa; wall; sky', Rejection('threshold', threshold=1e-9, min_area=share)
    )
    labels = model.segment(encoding, ORIGINAL).labels - 1
    kept = counts > share * plain.numel()
    assert 0 < kept.sum() < len(present)
    assert torch.equal(labels, sums.masked_fill(~kept[:, None, None], -1).argmax(0))


@pytest.mark.parametrize('combine', ['mean', 'max', 'joined'])
def test_synonyms(combine):
    model = build(text=dict(templates='single', cache_dir=None, combine=combine))
    give_masks(model, masks())
    (encoding,) = model.encode(Images(prepared(model, pictures())[0]))
    model.set_vocabulary('cat, kitten; sofa; wall, brick, stone')
    rows = model.classifier.weight
    assert len(rows) == (6 if combine == 'max' else 3)
    decision = model.segment(encoding, ORIGINAL, keep_scores=True)
    labels, scores = decision.labels, decision.scores
    assert scores.shape == (3, *ORIGINAL)
    assert torch.equal(labels, scores.argmax(0)) and len(labels.unique()) > 1
    if combine != 'max':
        return
    # As six classes of their own, of which the best decides.
    model.set_vocabulary('cat; kitten; sofa; wall; brick; stone')
    apart = model.segment(encoding, ORIGINAL).labels
    assert torch.equal(labels, torch.tensor([0, 0, 1, 2, 2, 2])[apart])


def test_logits_are_logarithms_of_the_scores_of_the_classes():
    model = build(test_cfg=dict(mode='whole', save_logits=True))
    inputs, samples = prepared(model, pictures())
    (encoding,) = model.encode(Images(inputs))
    decision = model.segment(encoding, ORIGINAL, keep_scores=True)
    scores = decision.scores
    (sample,) = model.predict(inputs, samples)
    assert torch.allclose(sample.seg_logits.data.exp(), scores.clamp_min(1e-12), rtol=1e-4)
    assert torch.equal(sample.seg_logits.data.argmax(0)[None], sample.pred_sem_seg.data)


def test_scores_at_the_input_size_are_mmsegs_encode_decode():
    model = build()
    inputs, _ = prepared(model, pictures())
    (encoding,) = model.encode(Images(inputs))
    wanted = model.scores(encoding, model.classifier, SIZE).whole(MemoryBudget(64))
    assert torch.allclose(model(inputs, mode='tensor')[0], wanted, rtol=1e-4, atol=1e-6)


# Checkpoints -------------------------------------------------------------------------------------


def test_a_published_checkpoint_brings_its_clip_and_the_words_follow():
    theirs, ours = build(seed=1), build(seed=2)
    torch.nn.init.normal_(theirs.clip.visual.mask_embedding)
    inputs, samples = prepared(theirs, pictures())
    wanted = theirs.predict(inputs, samples)[0].pred_sem_seg.data.clone()
    other = ours.classifier.weight
    published = theirs.to_published()
    assert 'clip_adapter.clip_model.visual.mask_embedding' in published
    load_state_strict(ours, published, 'the file')
    assert torch.equal(ours.classifier.weight, theirs.classifier.weight)
    assert not torch.equal(ours.classifier.weight, other)
    assert ours.protocol()['weights'] == 'of the checkpoint'
    inputs, samples = prepared(ours, pictures())
    assert torch.equal(ours.predict(inputs, samples)[0].pred_sem_seg.data, wanted)
    again = ours.to_published()
    assert sorted(again) == sorted(published)
    assert all(torch.equal(again[key], value) for key, value in published.items())


def test_words_of_a_random_clip_wait_for_the_checkpoint():
    model = build()
    asked = []
    encode = model.text.encoder.encode
    model.text.encoder.encode = lambda prompts: asked.append(len(prompts)) or encode(prompts)
    load_state_strict(model, build(seed=1).to_published(), 'the file')
    assert not asked
    with torch.inference_mode():
        model.classifier.weight.sum()
    assert asked == [4]
    assert not model.classifier.weight.is_inference()  # a loss can follow a validation
    with pytest.raises(UserError, match='no vocabulary'):
        _ = build(vocabulary=None).classifier


def test_a_checkpoint_without_clip_needs_one_in_the_config():
    state = build(seed=1).state_dict()
    with pytest.raises(UserError, match="model.clip.pretrained is 'random'; name the weights"):
        load_state_strict(build(), state, 'the file')
    model = embedded(seed=1, mask_prompts=0)
    with pytest.raises(UserError, match='set model.mask_prompts=0'):
        load_state_strict(embedded(seed=2), model.state_dict(), 'the file')
    other = embedded(seed=2, mask_prompts=0)
    load_state_strict(other, model.state_dict(), 'the file')
    assert all(torch.equal(other.state_dict()[k], v) for k, v in model.state_dict().items())
    assert other.clip_weights == 'embedded'


def test_plain_clip_takes_the_checkpoint_of_a_prompted_one():
    theirs, plain = build(seed=1), build(seed=2, mask_prompts=0)
    load_state_strict(plain, theirs.to_published(), 'the file')
    assert torch.equal(plain.clip.visual.proj, theirs.clip.visual.proj)
    inputs, samples = prepared(plain, pictures())
    assert plain.predict(inputs, samples)[0].pred_sem_seg.data.shape == (1, *ORIGINAL)


def test_adapted_files_replace_the_image_tower_and_the_mask_prompts(tmp_path):
    """Fine-tuning, then mask prompts, each from the file that its training writes."""
    tower, prompts = write_adapted(tmp_path)
    plain = embedded(seed=1, mask_prompts=0)
    tuned = embedded(seed=1, mask_prompts=0, adapted=tower)
    both = embedded(seed=1, adapted=[tower, prompts])
    assert torch.equal(tuned.clip.visual.proj, plain.clip.visual.proj + 0.25)
    assert torch.equal(both.clip.visual.proj, tuned.clip.visual.proj)
    assert both.clip.visual.mask_embedding.shape[0] == 2
    assert both.clip.visual.mask_embedding.abs().min() > 0.1
    assert torch.equal(both.classifier.weight, plain.classifier.weight)
    assert not any(value.requires_grad for value in both.clip.parameters())
    load_state_strict(both, plain.state_dict(), 'the file')
    assert both.protocol()['adapted'] == ['tower.pth', 'prompts.pth']
    inputs, samples = prepared(both, pictures())
    assert both.predict(inputs, samples)[0].pred_sem_seg.data.shape == (1, *ORIGINAL)
    # Mask prompts of a tower are for no other one.
    with pytest.raises(UserError, match='has another tower than the CLIP of the config'):
        embedded(adapted=prompts)
    without = embedded(mask_prompts=0, adapted=[tower, prompts])
    assert not without.clip.visual.mask_embedding.any()


def test_a_saved_state_has_no_clip():
    names = set(embedded().state_dict())
    assert not any(name.startswith('clip.') for name in names)
    assert {name.split('.')[0] for name in names} == {'backbone', 'proposals'}


# Training ----------------------------------------------------------------------------------------


def test_a_loss_trains_the_maskformer_and_nothing_of_clip():
    model = embedded().train()
    assert not model.clip.training and model.backbone.training
    model.clip.visual.forward = None  # the image tower has no part in training
    labels = torch.zeros(1, 64, 96, dtype=torch.int64)
    labels[:, 20:], labels[:, :, 80:] = 1, 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for _ in range(2)]
    data = dict(inputs=pictures(2, (64, 96)), data_samples=samples)
    data = model.data_preprocessor(data, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert {'loss_cls', 'loss_mask', 'loss_dice', 'd0.loss_cls'} <= set(losses)
    total, _ = model.parse_losses(losses)
    total.backward()
    touched = {name for name, value in model.named_parameters() if value.grad is not None}
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    assert touched == wanted and 'proposals.non_object_embedding' in touched
    assert not any(name.startswith('clip.') for name in touched)
    assert any(name.startswith('backbone.') for name in touched)


def test_training_with_several_rows_a_class_is_refused():
    text = dict(templates='single', cache_dir=None, combine='max')
    model = embedded(vocabulary='sky, clouds; grass', text=text)
    with pytest.raises(UserError, match="one text row a class: set model.text.combine='mean'"):
        model.loss(torch.zeros(1, 3, 64, 64), [])


# Other proposals ---------------------------------------------------------------------------------


def from_folder(folder, **settings):
    proposals = dict(type='RegionProposals', regions=dict(type='RegionFolder', folder=str(folder)))
    return build(backbone=None, proposals=proposals, **settings)


def test_regions_from_files_are_named_by_clip_alone(tmp_path):
    map_ = np.zeros(ORIGINAL, np.uint8)
    map_[5:40, 10:50], map_[20:60, 60:] = 3, 7
    np.save(tmp_path / 'photo.npy', map_)
    model = from_folder(tmp_path, ensemble=dict(weight=0.0), regions=dict(threshold=0.5))
    assert model.reads == {'originals', 'names'}
    assert not OVSeg.needs_checkpoint(config(backbone=None))
    assert 'RegionFolder' in model.protocol()['proposals']
    inputs, samples = prepared(model, pictures())
    samples[0].set_metainfo(dict(img_path='somewhere/photo.jpg'))
    samples[0].original_image = np.zeros((*ORIGINAL, 3), np.uint8)
    (sample,) = model.predict(inputs, samples)
    labels = sample.pred_sem_seg.data[0].numpy()
    (encoding,) = model.encode(Images(inputs, [np.zeros((*ORIGINAL, 3), np.uint8)], ['photo.jpg']))
    assert encoding.features.valid.tolist() == [True, True]
    found = model.score_proposals(encoding, model.classifier).scores.argmax(1).tolist()
    # Away from the borders, which a resize blurs.
    assert (labels[8:37, 13:47] == found[0]).all() and (labels[23:57, 63:87] == found[1]).all()
    with pytest.raises(UserError, match='images at their own size'):
        model.encode(Images(inputs))
    with pytest.raises(UserError, match='nothing to train'):
        model.loss(inputs, [])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(backbone=None), 'OpenVocabularyMaskFormer needs a model.backbone'),
        (dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))), "must be 'whole'"),
        (dict(ensemble=dict(weight=1.5)), r'ensemble.weight must lie in \[0, 1\]'),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_regions_without_classes_need_clip_alone(tmp_path):
    with pytest.raises(UserError, match=r'set model.ensemble=dict\(weight=0.0\)'):
        from_folder(tmp_path, ensemble=dict(weight=0.7))


@pytest.mark.parametrize('name', ['ovseg-r101c-vit-b16', 'ovseg-swin-b-vit-l14'])
def test_a_model_with_random_weights_needs_no_file_to_begin_with(name):
    _, place = resolve_model(name, None)
    settings = read_config(place.path, place.on).model
    assert settings.backbone.init_cfg.type == 'Pretrained'
    OVSeg.randomise(settings)
    assert 'init_cfg' not in settings.backbone and settings.clip.pretrained == 'random'
