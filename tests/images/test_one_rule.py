"""One config, one resize: the same labels through the tools, Python and the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from scripts import ROOT, load_script

import ovseg
from ovseg.encoders.sam3 import EMBEDDED
from ovseg.scenes.datasets import class_labels
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene

# One that the rules enlarge, and a strip that is stretched to 32 pixels.
SIZES = ((96, 144), (20, 150))


def shipped():
    """Every config that runs on Scenes with weights that ship."""
    for path in sorted((ROOT / 'configs').glob('*/*_tiny*.py')):
        config = Config.fromfile(path)
        if config.get('on') != 'scenes' or config.get('train_cfg') and not config.get('load_from'):
            continue
        weights = config.get('load_from') or config.model.get('clip', {}).get('pretrained')
        if config.model.get('sam3', {}).get('model') in EMBEDDED:
            weights = 'embedded'
        is_random = config.model.get('proposals') and not config.get('load_from')
        if weights and not is_random and weights.startswith(('embedded', 'ovseg://')):
            yield pytest.param(path, id=path.stem)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    """Scenes as PNG files of several sizes, with labels, as prepared data sets lie."""
    root = tmp_path_factory.mktemp('scenes')
    for folder in ('images', 'annotations'):
        (root / folder).mkdir()
    for index, size in enumerate(SIZES):
        scene = sample_scene('val', index, 0, size)
        picture = draw(scene, whole(scene))
        cv2.imwrite(str(root / 'images' / f'{index}.png'), picture.image[..., ::-1])
        labels = class_labels(scene, picture)
        cv2.imwrite(str(root / 'annotations' / f'{index}.png'), labels)
    return root


def on_disk(config: Path, data: Path, folder: Path) -> Path:
    """The config with the PNG files for its data set; nothing else of it changes but windows."""
    config_read = Config.fromfile(config)
    rule = config_read.test_dataloader.dataset
    # Few windows: all of its own take many seconds an image and door.
    apart = 16 if config.stem.startswith('trident') else 32
    windows = f'model = dict(test_cfg=dict(stride=({apart}, {apart})))\n'
    has_windows = 'stride' in (config_read.model.get('test_cfg') or {})
    dataset = dict(
        _delete_=True,
        type='ScenesFolderDataset',
        data_root=str(data),
        data_prefix=dict(img_path='images', seg_map_path='annotations'),
        resize=rule.get('resize'),
        keep_original=rule.get('keep_original', False),
        pipeline=[{'type': t} for t in ('LoadImageFromFile', 'LoadSegLabels', 'PackSegInputs')],
    )
    path = folder / f'{config.stem}_disk.py'
    path.write_text(
        f'_base_ = {str(config)!r}\n'
        f'test_dataloader = dict(dataset={dataset!r})\n'
        'test_evaluator = dict(_delete_=True, type="OVIoUMetric")\n'
        'tta_ratios = [1.0]\ntta_flip = False\n' + windows * has_windows,
        encoding='utf-8',
    )
    return path


def labels_in(folder: Path, ending: str, count: int) -> list[np.ndarray]:
    found = [np.asarray(Image.open(folder / f'{n}{ending}')) for n in range(count)]
    assert [labels.shape for labels in found] == list(SIZES[:count])
    return found


@pytest.mark.parametrize('config', shipped())
def test_every_door_gives_the_same_labels(config, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = len(SIZES)
    path = on_disk(config, scenes, tmp_path)
    test = load_script('test').main
    assert test([str(path), '--out', 'tool', '--work-dir', 'w']) == 0
    assert test([str(path), '--out', 'tta', '--work-dir', 'w', '--tta']) == 0
    images = [str(scenes / 'images' / f'{n}.png') for n in range(count)]
    python = [
        result.labels for result in ovseg.OpenVocabSegmenter(path, device='cpu').segment(images)
    ]
    demo = load_script('image_demo', 'demo')
    words = [str(scenes / 'images'), '--model', str(path), '--save', 'labels', '--device', 'cpu']
    assert demo.main([*words, '--out-dir', 'demo']) == 0
    expected = labels_in(Path('tool'), '.png', count)
    by_demo = labels_in(Path('demo'), '_labels.png', count)
    for door in (labels_in(Path('tta'), '.png', count), python, by_demo):
        for found, wanted in zip(door, expected, strict=True):
            assert (found == wanted).all()
    assert len(np.unique(np.concatenate([labels.ravel() for labels in expected]))) > 2


def test_every_model_that_ships_goes_through_the_doors():
    tested = {case.values[0] for case in shipped()}
    ships = {entry.config_path for entry in ovseg.list_models() if not entry.needs_download}
    assert {path for path in ships if '_tiny' in path.stem} <= tested and len(tested) >= 10
