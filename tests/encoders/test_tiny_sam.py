"""The embedded tiny SAM: small, complete, and its masks are those of what is asked for."""

import json

import numpy as np
import pytest
import torch
from scripts import load_script
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from ovseg.encoders.embedded import write_embedded
from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.encoders.tiny_sam import build_tiny_sam
from ovseg.errors import UserError
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.masks import part_masks
from ovseg.scenes.world import MATERIALS, sample_scene
from ovseg.weight_files import WEIGHTS

SMALL = dict(
    image_size=32,
    patch_size=8,
    encoder_embed_dim=16,
    encoder_depth=1,
    encoder_num_heads=2,
    mlp_ratio=2.0,
    global_attn_indexes=[0],
    window_size=2,
    prompt_embed_dim=8,
    mask_in_chans=8,
    decoder_num_heads=2,
    decoder_mlp_dim=16,
    iou_head_hidden_dim=8,
)


@pytest.fixture(scope='module')
def tiny():
    return build_tiny_sam()


@pytest.fixture(scope='module')
def measured(tiny):
    """True and predicted IoU of all masks of six scenes that training never saw, by prompt."""
    benchmark = load_script('mask_prompts', 'benchmarks')
    predictor = SamPredictor(tiny)
    generator = torch.Generator().manual_seed(0)
    found = {}
    for number in range(6):
        scene = sample_scene('val', number)
        picture = draw(scene, whole(scene, 0.75))
        predictor.set_image(picture.image)
        masks = torch.from_numpy(part_masks(picture.owner))
        with torch.no_grad():
            for name, iou, predicted in benchmark.results_of_scene(predictor, masks, generator):
                found.setdefault(name, []).append((iou, predicted))
    return {
        name: [None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True)]
        for name, parts in found.items()
    }


def test_the_file_is_small_and_says_where_it_comes_from():
    assert (WEIGHTS / 'tiny_sam_scenes.safetensors').stat().st_size <= 6_000_000
    facts = json.loads((WEIGHTS / 'tiny_sam_scenes.json').read_text())
    assert facts['kind'] == 'sam'
    assert 'without names' in facts['origin']['supervision']


def test_it_is_segment_anythings_class_and_frozen(tiny):
    assert type(tiny) is Sam
    assert not tiny.training
    assert not any(parameter.requires_grad for parameter in tiny.parameters())
    facts = json.loads((WEIGHTS / 'tiny_sam_scenes.json').read_text())
    assert tiny.pixel_mean.flatten().tolist() == pytest.approx(facts['mean'])
    assert tiny.pixel_std.flatten().tolist() == pytest.approx(facts['std'])
    assert tiny.image_encoder.img_size == facts['model']['image_size']


def test_the_last_block_sees_the_whole_picture_by_relative_positions(tiny):
    last = tiny.image_encoder.blocks[-1]
    grid = tiny.prompt_encoder.image_embedding_size[0]
    assert last.window_size == 0
    assert last.attn.use_rel_pos
    assert len(last.attn.rel_pos_h) == len(last.attn.rel_pos_w) == 2 * grid - 1
    assert last.attn.rel_pos_h.abs().max() > 0


def test_patches_of_one_object_attend_to_each_other(tiny):
    benchmark = load_script('mask_prompts', 'benchmarks')
    predictor = SamPredictor(tiny)
    on_own, share = [], []
    for number in range(6):
        scene = sample_scene('val', number)
        picture = draw(scene, whole(scene, 0.75))
        masks = torch.from_numpy(part_masks(picture.owner))
        objects = torch.tensor([int(picture.owner[mask].min()) >= len(MATERIALS) for mask in masks])
        part, attended, size = benchmark.attention_within_parts(predictor, picture.image, masks)
        assert attended.min() >= 0 and attended.max() <= 1 + 1e-5
        on_own.append(attended[objects[part]])
        share.append(size[objects[part]])
    assert torch.cat(on_own).mean() > 3 * torch.cat(share).mean()
    # Nothing is left behind in the network.
    assert not tiny.image_encoder.blocks[-1].attn.qkv._forward_hooks


def test_prompts_give_the_masks_that_they_are_about(measured):
    mean = {name: iou.mean().item() for name, (iou, _) in measured.items()}
    assert mean['box'] > 0.75
    assert mean['rough box'] > 0.7
    assert mean['coarse prompt'] > 0.7
    assert mean['point'] > 0.5
    assert mean['point, best of three'] > mean['point']


def test_predicted_iou_tells_good_masks_from_bad_ones(measured):
    iou, predicted = (
        torch.cat([measured[name][part] for name in ('point', 'box', 'coarse prompt')])
        for part in (0, 1)
    )
    assert torch.corrcoef(torch.stack([iou, predicted]))[0, 1] > 0.5
    assert iou[predicted > 0.8].mean() > 0.8
    assert iou[predicted > 0.8].mean() > iou[predicted <= 0.8].mean() + 0.1


def test_pictures_of_any_shape_are_answered_at_their_size(tiny):
    predictor = SamPredictor(tiny)
    predictor.set_image(np.zeros((50, 90, 3), np.uint8))
    masks, iou, logits = predictor.predict(box=np.array([10, 10, 40, 40]))
    side = 4 * tiny.prompt_encoder.image_embedding_size[0]
    assert masks.shape == (3, 50, 90)
    assert iou.shape == (3,)
    assert logits.shape == (3, side, side)


def test_a_sam_survives_the_file(tmp_path):
    torch.manual_seed(0)
    sam = build_sam_architecture(SMALL)
    facts = dict(model=SMALL, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], origin={})
    write_embedded(tmp_path / 'copy', 'sam', sam.state_dict(), **facts)
    again = build_tiny_sam('copy', tmp_path)
    assert again.pixel_mean.flatten().tolist() == [1, 2, 3]
    assert again.pixel_std.flatten().tolist() == [4, 5, 6]
    for key, value in sam.state_dict().items():
        assert torch.equal(value.half().float(), again.state_dict()[key]), key


def test_what_does_not_fit_is_explained(tmp_path):
    with pytest.raises(UserError, match="no sam model 'tiny_clip_scenes'.*tiny_sam_scenes"):
        build_tiny_sam('tiny_clip_scenes')
    state = build_sam_architecture(SMALL).state_dict()
    model = {**SMALL, 'window_size': 3, 'encoder_depth': 2}
    write_embedded(tmp_path / 'x', 'sam', state, model=model, mean=[], std=[], origin={})
    with pytest.raises(UserError, match='(?s)x.safetensors does not fit x.json.*blocks.1'):
        build_tiny_sam('x', tmp_path)
