"""Configs of Trident, against its published settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from config_stand_ins import config_of, data_root, miou_of_files, names_in, run, with_tiny_clip
from miniatures import NAMES, prepared_miniature
from mmseg.structures import SegDataSample
from scripts import ROOT
from tiny_clip_models import VIT
from tiny_sam2s import TINY_SAM2
from tiny_sams import TINY_SAM

from ovseg.apis.building import build_model
from ovseg.encoders import clip_registry
from ovseg.encoders.sam2_prompted import SAM2 as SAM2Prompted
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.vocabulary.protocols import protocol_words

FOLDER = ROOT / 'configs' / 'trident'
CLIPS = {
    'vit-b16_openai': ('ViT-B-16-quickgelu', 'openai'),
    'vit-l14_openai': ('ViT-L-14-quickgelu', 'openai'),
    'vit-h14_laion2b': ('ViT-H-14', 'laion2b_s32b_b79k'),
}
STEMS = [f'trident_{clip}_{name}' for clip in CLIPS for name in NAMES]
IMAGES = [f'trident_{clip}_images' for clip in CLIPS]
SAM2 = [f'trident_vit-b16_openai_sam2_{name}' for name in (*NAMES, 'images')]
# short side, stride, prob_thd, coarse_thresh, cos_fac, refine_neg_cos, parts of SAM's image
RELEASED = {
    'voc21': (448, 224, 0.2, 0.2, 1.2, True, 1),
    'context60': (576, 224, 0.15, 0.15, 1.2, True, 1),
    'coco_object': (448, 224, 0.25, 0.25, 1.2, True, 1),
    'voc20': (336, 112, 0.0, 0.2, 0.0, True, 1),
    'context59': (576, 224, 0.0, 0.15, 1.2, True, 1),
    'coco_stuff164k': (448, 224, 0.0, 0.05, 1.2, True, 1),
    'cityscapes': (688, 224, 0.0, 0.1, 3.0, False, 2),
    'ade20k': (576, 224, 0.0, 0.05, 1.2, False, 1),
    'ade847': (448, 224, 0.0, 0.2, 1.2, True, 1),
    'context459': (448, 224, 0.0, 0.2, 1.2, True, 1),
}
PUBLISHED = {
    'vit-b16_openai': {
        'PASCAL VOC21': 67.1,
        'PASCAL Context-60': 38.6,
        'COCO-Object': 41.1,
        'PASCAL VOC20': 84.5,
        'PASCAL Context-59': 42.2,
        'COCO-Stuff-164k': 28.3,
        'Cityscapes': 42.9,
        'ADE20K': 21.9,
    },
    'vit-l14_openai': {},
    'vit-h14_laion2b': {
        'PASCAL VOC21': 70.8,
        'PASCAL Context-60': 40.1,
        'COCO-Object': 42.2,
        'PASCAL VOC20': 88.7,
        'PASCAL Context-59': 44.3,
        'COCO-Stuff-164k': 28.6,
        'Cityscapes': 47.6,
        'ADE20K': 26.7,
    },
}
DINO = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
TINY = {
    'companion': {'type': 'DINOCompanion', 'model': DINO, 'pretrained': 'random'},
    'sam': {'model': TINY_SAM, 'pretrained': 'random'},
}
# Windows that are quickly done.
SMALL_WINDOWS = {
    'mode': 'splice',
    'crop_size': (64, 64),
    'stride': (64, 64),
    'upsampling': 'direct',
}


def built(stem):
    """The model of a config, with tiny random networks in it."""
    model = config_of(stem).model
    model.update(clip={'model': VIT, 'pretrained': 'random'}, **TINY)
    model.text.update(cache_dir=None, templates='single')
    return MODELS.build({**model, '_scope_': 'ovseg'}).eval()


def test_there_is_a_config_for_each_clip_and_data_set():
    names = {name for name in names_in('trident') if '_tiny_' not in name}
    assert names == {*STEMS, *IMAGES, *SAM2}


@pytest.mark.parametrize('stem', [*STEMS, *IMAGES])
def test_what_all_share_is_as_released(stem):
    model = config_of(stem).model
    assert model.type == 'Trident'
    wanted = next(clip for name, clip in CLIPS.items() if stem.startswith(f'trident_{name}_'))
    assert (model.clip.model, model.clip.pretrained) == wanted
    assert model.companion == {'type': 'DINOCompanion', 'model': 'dino_vitb16'}
    assert model.sam == {'model': 'vit_b'}
    assert model.proxy == {'beta': 1.2, 'gamma': 3.0}
    assert model.encoder == {'position_resize': 'scale_factor'}
    assert model.text == {'templates': 'openai-80', 'combine': 'max', 'logit_scale': 40}
    assert model.data_preprocessor.mean == [122.771, 116.746, 104.094]
    assert model.data_preprocessor.std == [68.501, 66.632, 70.323]
    assert model.data_preprocessor.bgr_to_rgb


@pytest.mark.parametrize('stem', SAM2)
def test_with_sam_2_all_but_the_refinement_is_the_same(stem):
    model, plain = (config_of(name).to_dict() for name in (stem, stem.replace('_sam2_', '_')))
    sam = model['model']['refinement'].pop('sam')
    assert sam == {'model': 'facebook/sam2.1-hiera-large'}
    assert model == plain


def test_a_config_with_sam_2_refines_by_it():
    pytest.importorskip('transformers', reason='SAM 2 needs the extra `transformers`')
    config = config_of('trident_vit-b16_openai_sam2_voc21')
    config.model.update(clip={'model': VIT, 'pretrained': 'random'}, **TINY)
    config.model.refinement.sam = {'model': TINY_SAM2}
    config.model.text.update(cache_dir=None, templates='single')
    model = build_model(config, 'random', 'single').eval()
    assert (model.prompted.name, model.prompted.weights) == ('custom', 'random')
    assert isinstance(model.prompted, SAM2Prompted) and model.sam.weights == 'random'
    assert model.refinement.coarse_threshold == 0.2


@pytest.mark.parametrize('stem', IMAGES)
def test_configs_for_any_images_leave_the_words_open(stem):
    config = config_of(stem)
    assert config.model.get('vocabulary') is None
    assert config.resize == {'scale': (2048, 448), 'keep_ratio': True}
    assert config.model.refinement.coarse_threshold == 0.2


@pytest.mark.parametrize('stem', STEMS)
def test_every_config_builds_with_the_released_settings(stem):
    name = stem.split('_', 3)[3]
    side, stride, threshold, coarse, factor, negative, columns = RELEASED[name]
    data = config_of(stem).test_dataloader.dataset
    assert data.resize == {'scale': (2048, side), 'keep_ratio': True} and data.keep_original
    model = built(stem)
    settings = model.inference_settings
    assert (settings.mode, settings.crop_size, settings.stride) == (
        'splice',
        (336, 336),
        (stride, stride),
    )
    assert settings.upsampling == 'direct'
    assert model.words.source == f'{name}/trident'
    rejection = model.vocabulary.rejection
    assert rejection.threshold == threshold and not rejection.min_area
    has_background = name in ('voc21', 'context60', 'coco_object')
    assert rejection.kind == ('class_zero' if has_background else 'none')
    assert model.correlation.cosine_factor == factor
    assert model.correlation.keep_negative_thresholds is negative
    assert model.sam_columns == columns
    refinement = model.refinement
    assert refinement.coarse_threshold == coarse
    assert (refinement.min_area, refinement.mask_scale, refinement.iou_threshold) == (
        225,
        0.005,
        0.8,
    )


def test_words_are_those_of_the_release():
    words = {name: protocol_words(name, 'trident')[1] for name in NAMES}
    queries = {name: sum(map(len, prompts)) for name, prompts in words.items()}
    assert queries == {
        'voc21': 46,
        'context60': 60,
        'coco_object': 97,
        'voc20': 20,
        'context59': 59,
        'coco_stuff164k': 171,
        'cityscapes': 19,
        'ade20k': 150,
        'ade847': 847,
        'context459': 459,
    }
    indoors = 'lamp door window wardrobe ceiling shelf curtain stair floor hill rail fence'
    everywhere = 'sky wall tree wood grass road sea river mountain sands desk bed building cloud'
    assert words['voc21'][0] == tuple(f'{everywhere} {indoors}'.split())
    assert words['coco_object'][0] == tuple(f'{everywhere} floor hill rail'.split())
    assert words['context60'][0] == ('background',)
    for name in ('voc20', 'voc21'):
        flat = {word for prompts in words[name] for word in prompts}
        assert {'ship', 'table'} <= flat and not flat & {'boat', 'diningtable'}
    flat = {word for prompts in words['cityscapes'] for word in prompts}
    assert {'trafficlight', 'trafficsign'} <= flat
    assert ('building, edifice',) in words['ade847']


@pytest.mark.parametrize('name', NAMES)
def test_every_data_set_runs(name, tmp_path):
    prepared_miniature(name, tmp_path / 'data', large=False)
    stem = f'trident_vit-b16_openai_{name}'
    parts = {**TINY, 'test_cfg': SMALL_WINDOWS}
    config = with_tiny_clip(stem, tmp_path, data_root(name, tmp_path / 'data'), parts)
    result = run(config, tmp_path)
    assert result['metrics']['mIoU'] == pytest.approx(miou_of_files(config, tmp_path / 'out'))
    protocol = result['protocol']
    assert protocol['vocabulary'] == f'{name}/trident'
    assert protocol['mode'] == 'splice'
    threshold, columns = RELEASED[name][2], RELEASED[name][6]
    assert (f'below {threshold:g}' in protocol['background']) == (threshold > 0)
    assert f'columns={columns}' in protocol['model']['guide']
    assert f'coarse_threshold={RELEASED[name][3]}' in protocol['model']['refinement']


def test_the_refinement_can_be_left_out_and_sam_chosen_on_the_command_line(tmp_path):
    config = config_of('trident_vit-b16_openai_voc21')
    config.merge_from_dict({'model.refinement': None, 'model.sam.model': 'vit_h'})
    assert config.model.refinement is None and config.model.sam == {'model': 'vit_h'}
    config.model.update(clip={'model': VIT, 'pretrained': 'random'}, **TINY)
    config.model.text.update(cache_dir=None, templates='single')
    model = MODELS.build({**config.model, '_scope_': 'ovseg'}).eval()
    sample = SegDataSample(metainfo={'ori_shape': (40, 52)})
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    sample.set_field(image, 'original_image', dtype=np.ndarray)
    (predicted,) = model.predict(torch.randn(1, 3, 80, 104), [sample])
    labels = predicted.pred_sem_seg.data
    assert labels.shape == (1, 40, 52) and 0 <= labels.min() <= labels.max() < 21


def test_random_weights_need_no_file(monkeypatch):
    def fetched(*args):
        raise AssertionError(f'{args} was asked for')

    monkeypatch.setattr(clip_registry, 'fetch_weights', fetched)
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetched)
    config = config_of('trident_vit-b16_openai_images')
    config.model.clip = {'model': VIT, 'pretrained': 'openai'}
    config.model.companion = {'type': 'DINOCompanion', 'model': DINO}
    config.model.sam = {'model': TINY_SAM}
    model = build_model(config, 'random', 'single')
    assert (model.clip_weights, model.companion.encoder.weights, model.sam.weights) == (
        'random',
    ) * 3


@pytest.mark.parametrize('part', ['companion', 'sam'])
def test_a_setting_for_a_file_that_is_not_there_says_so(part, tmp_path):
    config = config_of('trident_vit-b16_openai_images')
    parts = {**TINY, part: {**TINY[part], 'pretrained': str(tmp_path / 'gone.pth')}}
    config.model.update(clip={'model': VIT, 'pretrained': 'random'}, **parts)
    with pytest.raises((UserError, FileNotFoundError), match='gone.pth does not exist'):
        build_model(config)


def test_the_metafile_lists_every_config_with_its_published_number():
    listed = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))['Models']
    assert [model['Name'] for model in listed] == sorted(path.stem for path in FOLDER.glob('*.py'))
    assert all(model['Config'] == f'configs/trident/{model["Name"]}.py' for model in listed)
    for clip, wanted in PUBLISHED.items():
        found = {
            result['Dataset']: result['Metrics']['mIoU (published)']
            for model in listed
            if model['Name'] == f'trident_{clip}'
            for result in model.get('Results', ())
        }
        assert found == wanted


def test_the_page_shows_the_published_numbers():
    page = (FOLDER / 'README.md').read_text(encoding='utf-8')
    order = [name for name in PUBLISHED['vit-b16_openai']]
    for row, clip in (('ViT-B/16 (OpenAI)', 'vit-b16_openai'), ('ViT-H/14', 'vit-h14_laion2b')):
        (line,) = (line for line in page.splitlines() if line.startswith(f'| {row}'))
        numbers = [float(cell) for cell in line.strip('| ').split('|')[1:]]
        wanted = [PUBLISHED[clip][name] for name in order]
        assert numbers[:-1] == wanted
        assert numbers[-1] == pytest.approx(np.mean(wanted), abs=0.051)
