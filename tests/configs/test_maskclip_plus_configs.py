from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
import yaml
from miniatures import NAMES, prepared_miniature
from mmengine.registry import DefaultScope
from PIL import Image
from scripts import ROOT, load_script
from tiny_clip_models import RESNET, VIT

from ovseg.config_files import place_of_config, read_config
from ovseg.engine import read_checkpoint
from ovseg.errors import EXIT_NOTHING_DONE, run_cli
from ovseg.registry import MODELS

FOLDER = ROOT / 'configs' / 'maskclip_plus'
CONFIGS = sorted(FOLDER.glob('*.py'))
# As each of them was called when it had a file: what is published, and no other combination.
TRAINED = {
    'rn50': 'voc20 context59 coco_stuff164k cityscapes ade20k',
    'rn50x16': 'voc20 context59 coco_stuff164k ade20k',
    'vit-b16': 'voc20 context59 coco_stuff164k cityscapes ade20k',
}
BENCHMARKS = [
    *(
        FOLDER / f'maskclip_plus_{teacher}_deeplabv2-r101_anno-free_{name}.py'
        for teacher, names in TRAINED.items()
        for name in names.split()
    ),
    *(
        FOLDER / f'maskclip_plus_vit-b16_deeplabv2-r50_anno-free_{name}.py'
        for name in ('voc20', 'context59', 'coco_stuff164k', 'cityscapes')
    ),
    *(
        FOLDER / f'maskclip_plus_rn50_deeplabv2-r101_zero-shot_{name}.py'
        for name in ('voc20', 'voc21', 'coco_stuff164k')
    ),
    FOLDER / 'maskclip_plus_rn50_deeplabv3plus-r101_zero-shot_context60.py',
]
TEACHERS = {'rn50': 'rn50', 'rn50x16': 'rn50x16', 'vit-b16': 'vit-b16'}
# Setting -> iterations, learning rate, weight decay, crop, held-back classes.
ALL = 'all'
PUBLISHED = {
    'anno-free_voc20': (2000, 0.01, 5e-4, (512, 512), ALL),
    'anno-free_context59': (4000, 0.01, 5e-4, (480, 480), ALL),
    'anno-free_coco_stuff164k': (8000, 0.01, 5e-4, (512, 512), ALL),
    'anno-free_cityscapes': (4000, 0.01, 5e-4, (512, 1024), ALL),
    'anno-free_ade20k': (8000, 0.01, 5e-4, (512, 512), ALL),
    'zero-shot_voc20': (20000, 0.01, 5e-4, (512, 512), [15, 16, 17, 18, 19]),
    'zero-shot_voc21': (20000, 0.01, 5e-4, (512, 512), [16, 17, 18, 19, 20]),
    'zero-shot_context60': (
        *(40000, 0.004, 1e-4, (480, 480)),
        [20, 34, 49, 15, 8, 25, 7, 55, 32, 1],
    ),
    'zero-shot_coco_stuff164k': (
        *(80000, 0.01, 5e-4, (512, 512)),
        [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160],
    ),
}


def parts(path):
    """(teacher, student, setting_dataset) of a config's name."""
    _, _, teacher, student, rest = path.stem.split('_', 4)
    return teacher, student, rest


def test_every_published_setting_has_a_config():
    assert {parts(path)[2] for path in BENCHMARKS} == set(PUBLISHED)
    named = {place_of_config(path).path for path in BENCHMARKS}
    assert named == {path for path in CONFIGS if '_anno-free' in path.stem or '_zero-' in path.stem}


@pytest.mark.parametrize('path', BENCHMARKS, ids=lambda path: path.stem)
def test_a_config_says_the_published_settings(path):
    config = read_config(path)
    teacher, student, setting = parts(path)
    iterations, rate, decay, crop, hidden = PUBLISHED[setting]
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == iterations
    assert config.optim_wrapper.optimizer.lr == rate
    assert config.optim_wrapper.optimizer.weight_decay == decay
    dataset = config.train_dataloader.dataset
    assert dataset.suppress_labels == hidden and config.train_dataloader.batch_size == 4
    crops = [step.crop_size for step in dataset.pipeline if step.type == 'RandomCrop']
    assert crops == [crop] and config.model.data_preprocessor.size == crop
    labels = config.model.get('pseudo_labels', {})
    assert labels.get('categories', ALL) == hidden
    if hidden != ALL:
        first = {20000: 2000, 40000: 4000, 80000: 8000}[iterations]
        assert labels.clip_guided == (1, first - 1) and labels.self_training == (first, None)
    depth = 50 if student.endswith('r50') else 101
    assert config.model.backbone.depth == depth
    assert config.model.backbone.init_cfg.checkpoint == f'open-mmlab://resnet{depth}_v1c'
    assert config.test_dataloader.dataset.type == dataset.type
    frozen = read_config(f'maskclip_{teacher}_openai', on='images')
    assert config.model.teacher == frozen.model
    head = config.model.decode_head
    assert head.channels == {'rn50': 1024, 'rn50x16': 768, 'vit-b16': 512}[teacher]
    assert head.get('cls_bg', False) == setting.endswith(('voc21', 'context60'))
    assert head.decode_module.type == (
        'DepthwiseSeparableASPPHead' if 'v3plus' in student else 'DeepLabV2Module'
    )


def with_tiny_parts(path, folder, data):
    """A config file that takes the named one, with tiny networks and a fabricated data set."""
    config = read_config(path)
    is_vit = parts(path)[0] == 'vit-b16'
    clip = dict(
        _delete_=True,
        **dict(model=VIT if is_vit else RESNET, pretrained='random'),
        **(dict(activation='gelu', layer_norm_eps=1e-6) if is_vit else {}),
    )
    test = config.test_dataloader.dataset
    root = data / config.train_dataloader.dataset.data_root.removeprefix('data/')
    train = dict(
        data_root=str(root if root.exists() else data),
        data_prefix=test.data_prefix.to_dict(),
        ann_file=test.get('ann_file', ''),
    )
    crop, rate = (64, 64), dict(scale=(96, 64), ratio_range=(0.5, 2.0), keep_ratio=True)
    pipeline = [
        {**step, **{'RandomResize': rate, 'RandomCrop': dict(crop_size=crop)}.get(step.type, {})}
        for step in config.train_dataloader.dataset.pipeline
    ]
    module = {'in_channels': 32, 'dilations': (1, 2)}
    if 'v3plus' in path.stem:
        module.update(c1_in_channels=4, c1_channels=4)
    model = dict(
        backbone=dict(depth=18, stem_channels=4, base_channels=4, init_cfg=None),
        teacher=dict(clip=clip, text=dict(templates='single', cache_dir=None)),
        decode_head=dict(channels=24, decode_module=module),
        data_preprocessor=dict(size=crop),
    )
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    settings = dict(
        model=model,
        train_dataloader=dict(**loader, dataset=dict(**train, pipeline=pipeline)),
        train_cfg=dict(max_iters=1),
        test_dataloader=dict(num_workers=0, dataset=dict(data_root=train['data_root'])),
        randomness=dict(seed=0),
    )
    base = place_of_config(path).path
    target = folder / f'{base.stem}_tiny.py'
    lines = [f'_base_ = {str(base)!r}', *(f'{key} = {value!r}' for key, value in settings.items())]
    target.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return target


def of(setting, teacher='rn50'):
    return next(p for p in BENCHMARKS if parts(p)[0] == teacher and parts(p)[2] == setting)


RUN = [
    *(of(setting) for setting in PUBLISHED if setting.startswith('zero-shot')),
    *(of(setting, 'vit-b16') for setting in PUBLISHED if setting.startswith('anno-free')),
]


@pytest.mark.parametrize('path', RUN, ids=lambda path: path.stem)
def test_a_published_config_trains_and_tests_in_one_process_without_a_gpu(path, tmp_path):
    name = parts(path)[2].partition('_')[2]
    assert name in NAMES
    prepared_miniature(name, tmp_path / 'data')
    config = with_tiny_parts(path, tmp_path, tmp_path / 'data')
    work = tmp_path / 'work'
    on = [str(config), '--on', name]
    assert load_script('train').main([*on, '--work-dir', str(work)]) == 0
    state = read_checkpoint(work / 'iter_1.pth')['state_dict']
    assert state['iterations'] == 1 and not [key for key in state if 'teacher' in key]
    # SyncBN as published: one process normalises by its own batch.
    assert state['backbone.stem.1.num_batches_tracked'] == 1
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())
    if name == 'voc21':
        words = [*on, str(work / 'iter_1.pth'), '--work-dir', str(tmp_path / 'test')]
        assert load_script('test').main(words) == 0


def test_no_network_gives_one_sentence_with_the_file_of_the_backbone(tmp_path, capsys, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    prepared_miniature('voc20', tmp_path / 'data')
    config = with_tiny_parts(of('anno-free_voc20'), tmp_path, tmp_path / 'data')
    url = 'open-mmlab://resnet101_v1c'
    with config.open('a', encoding='utf-8') as file:
        file.write(f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint={url!r})\n")
    train = load_script('train')
    words = [str(config), '--work-dir', str(tmp_path / 'work')]
    assert run_cli(lambda: train.main(words)) == EXIT_NOTHING_DONE
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: https://') and 'resnet101_v1c-' in error
    assert 'give the path of the file instead' in error


def test_the_model_index_lists_every_config_by_its_name():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    assert 'configs/maskclip_plus/metafile.yaml' in index['Import']
    content = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))
    listed = {model['Name']: ROOT / model['Config'] for model in content['Models']}
    assert listed == {path.stem: path for path in CONFIGS}


@pytest.mark.parametrize('name', [p.stem for p in CONFIGS if p.stem.endswith('_images')])
def test_a_config_for_images_asks_for_the_words(name, tmp_path, capsys):
    config = read_config(FOLDER / f'{name}.py')
    assert config.train_dataloader.dataset.type == 'ImageFolderDataset'
    Image.new('RGB', (64, 64)).save(tmp_path / 'a.png')
    words = [str(FOLDER / f'{name}.py'), '--work-dir', str(tmp_path / 'work'), '--cfg-options']
    words += [f'train_dataloader.dataset.data_root={tmp_path}']
    assert run_cli(lambda: load_script('train').main(words)) == 2
    assert 'set model.vocabulary' in capsys.readouterr().err


# Names and shapes of the released checkpoints (DeepLabv2 on ResNet-101, 20 classes).
RELEASED = {
    'backbone.stem.0.weight': (32, 3, 3, 3),
    'backbone.layer3.22.conv3.weight': (1024, 256, 1, 1),
    'backbone.layer4.2.bn3.running_var': (2048,),
    **{
        f'decode_head.decode_module.aspp_modules.{i}.conv.weight': (512, 2048, 3, 3)
        for i in range(4)
    },
    'decode_head.decode_module.aspp_modules.3.bn.num_batches_tracked': (),
    'decode_head.text_embeddings': (20, 512),
    'decode_head._iter_counter': (),
}


def test_the_full_size_student_has_the_released_names_and_shapes():
    config = read_config(of('anno-free_voc20', 'vit-b16'))
    settings = {**config.model, 'teacher': None}
    settings['backbone'] = {**config.model.backbone, 'depth': 101}
    with torch.device('meta'), DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(settings)
    shapes = {key: tuple(value.shape) for key, value in model.to_published().items()}
    assert {key: shapes.get(key) for key in RELEASED} == RELEASED
    head = [key for key in shapes if key.startswith('decode_head.')]
    assert len(head) == 4 * 6 + 2
