from __future__ import annotations

import pytest
import torch
from scripts import ROOT

from ovseg.encoders import MaskPromptedViT, load_clip
from ovseg.vocabulary.protocols import protocol_words
from parity import check_path
from parity.ovseg.clip import mask_prompted, model_config
from parity.ovseg.regions import check_visual
from parity.ovseg.words import check_class_names
from parity.report import Report

GOLDEN = ROOT / 'tests' / 'data' / 'ovseg' / 'crop_preprocess.pt'
TINY = {
    **{'embed_dim': 8, 'image_resolution': 32, 'vision_layers': 2, 'vision_width': 16},
    **{'vision_heads': 2, 'vision_patch_size': 16, 'mask_prompt_depth': 2, 'quick_gelu': True},
    **{'context_length': 8, 'vocab_size': 16, 'text_width': 8, 'text_heads': 1, 'text_layers': 1},
}


def failures(folder, change=lambda content: None):
    content = torch.load(GOLDEN, weights_only=True)
    change(content)
    torch.save(content, folder / GOLDEN.name)
    (report,) = check_path(folder / GOLDEN.name)
    assert len(report.lines) >= 35
    return [line.name for line in report.lines if line.status != 'ok']


def test_crops_agree_with_the_reference(tmp_path):
    assert failures(tmp_path) == []


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (lambda c: c['cases'][0]['valid'].logical_not_(), 'cases.0.valid'),
        (lambda c: c['cases'][1]['crop_xyxy'][0].add_(1), 'cases.1.crop_xyxy'),
        (lambda c: c['cases'][1]['regions_sub'][1].mul_(1.001), 'cases.1.regions_sub'),
        (lambda c: c['cases'][2]['unnorm_regions_sub'][0].add_(0.1), 'cases.2.unnorm_regions_sub'),
        (lambda c: c['cases'][2]['region_masks_sum'].mul_(1.001), 'cases.2.region_masks_sum'),
        (lambda c: c['cases'][0]['crops_normalised'][1].add_(1), 'cases.0.crops_normalised.1'),
        (lambda c: c['cases'][0]['crop_masks'][0].add_(1), 'cases.0.crop_masks.0'),
        (lambda c: c['cases'][0].update(novelty=1), 'cases.0.novelty'),
    ],
)
def test_a_changed_quantity_fails_and_is_named(tmp_path, change, name):
    assert failures(tmp_path, change) == [name]


def test_every_weight_of_the_tower_is_compared():
    torch.manual_seed(0)
    tower = MaskPromptedViT(load_clip(model_config(TINY), 'random').model.visual, 2)
    state = {f'visual.{name}': value.half() for name, value in tower.state_dict().items()}
    content = {'config': TINY, 'state_dict': state, 'logit_scale': 4.6}
    report = Report(content, 'clip_visual.pt')
    check_visual(report.case, ROOT)
    report.miss_unseen()
    assert report.passed, report.text()
    assert sum(line.name.startswith('state_dict.visual.') for line in report.lines) == len(state)
    assert len(mask_prompted(report.content, 1).mask_embedding) == 1


def test_class_names_are_compared_as_they_are_put_into_templates():
    sets = {
        'ade20k_150': 'ade20k',
        'ade20k_full_847': 'ade847',
        'coco_stuff_171': 'coco_stuff164k',
        'pascal_voc_20': 'voc20',
        'pascal_context_59': 'context59',
        'pascal_context_459': 'context459',
    }
    content = {
        key: [f'{words[0]} ' for words in protocol_words(name, 'ovseg')[1]]
        for key, name in sets.items()
    }
    unused = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
    ids = [number for number in range(1, 183) if number not in unused]
    content['coco_stuff_171_dataset_id'] = ids
    content['ade20k_full_847_object_id'] = [0] * 847
    content['pascal_voc_20'][3] = 'ship'
    report = Report(content, 'class_names.pt')
    check_class_names(report.case, ROOT)
    report.miss_unseen()
    failed = [line.name for line in report.lines if line.status != 'ok']
    assert failed == ['pascal_voc_20', 'ade20k_full_847_object_id']
    assert len(report.lines) == 8
