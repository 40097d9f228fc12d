"""The table of docs/mmseg_doors.md, row by row, each in what a user writes."""

import runpy
import sys
import warnings
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
from scripts import ROOT, load_script
from tiny_dense_clip import CLASSES, write_dense_clip

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.zoo import find_model

TRAINING_FREE = str(ROOT / 'configs' / 'maskclip' / 'maskclip_tiny.py')
TRAINED = str(ROOT / 'configs' / 'denseclip' / 'denseclip_fpn_tiny_scenes.py')
SCENE = str(ROOT / 'demo' / 'scene.png')
MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(autouse=True)
def _scope():
    """Default scopes that mmengine's interfaces set are set back."""
    from mmengine.registry import DefaultScope

    before = DefaultScope.get_current_instance()
    yield
    if before is None:
        DefaultScope._instance_dict.clear()
    else:
        DefaultScope.get_instance('after', scope_name=before.scope_name)


@pytest.fixture(scope='module')
def built():
    return init_model(TRAINING_FREE, device='cpu')


@pytest.fixture(scope='module')
def wanted():
    return OpenVocabSegmenter(TRAINING_FREE, device='cpu')(SCENE)


def test_init_model_and_inference_model_label_as_the_python_interface(built, wanted):
    result = inference_model(built, SCENE)
    assert np.array_equal(result.pred_sem_seg.data[0].numpy(), wanted.labels)
    many = inference_model(built, [SCENE, SCENE])
    assert all(torch.equal(one.pred_sem_seg.data, result.pred_sem_seg.data) for one in many)
    assert built.dataset_meta['classes'] == wanted.names
    picture = show_result_pyplot(built, SCENE, result, show=False)
    assert picture.shape == wanted.image.shape and not np.array_equal(picture, wanted.image)


def test_arrays_are_taken_in_the_order_of_opencv(wanted):
    model = init_model(TRAINING_FREE, device='cpu')
    result = inference_model(model, np.ascontiguousarray(wanted.image[..., ::-1]))
    assert np.array_equal(result.pred_sem_seg.data[0].numpy(), wanted.labels)


def test_words_are_changed_between_questions(wanted):
    model = init_model(TRAINING_FREE, device='cpu')
    model.set_vocabulary('sky; grass; red star')
    labels = inference_model(model, SCENE).pred_sem_seg.data
    assert labels.max() == 2 and model.dataset_meta['classes'] == ('sky', 'grass', 'red star')


def test_a_model_that_reads_originals_gets_them():
    model = init_model(str(ROOT / 'configs' / 'trident' / 'trident_tiny.py'), device='cpu')
    steps = [step['type'] for step in model.cfg.test_pipeline]
    assert steps == ['LoadImageFromFile', 'KeepOriginalImage', 'ResizeByRule', 'PackWithOriginal']


def test_a_trained_model_needs_its_checkpoint(tmp_path):
    bare = init_model(TRAINED, device='cpu')
    with pytest.raises(UserError, match='random weights, as no checkpoint was given .its config'):
        inference_model(bare, SCENE)
    shipped = init_model(TRAINED, 'ovseg://denseclip_tiny_scenes', device='cpu')
    labels = inference_model(shipped, SCENE).pred_sem_seg.data[0].numpy()
    assert np.array_equal(labels, OpenVocabSegmenter(TRAINED, device='cpu')(SCENE).labels)
    assert shipped.dataset_meta['classes'][0] == 'sky'
    config, checkpoint = write_dense_clip(tmp_path)
    torch.save({**torch.load(checkpoint), 'meta': {}}, checkpoint)  # mmseg asks for it
    model = init_model(str(config), str(checkpoint), device='cpu')
    # mmseg writes Cityscapes' names into a checkpoint without any.
    assert model.dataset_meta['classes'] == CLASSES
    assert inference_model(model, SCENE).pred_sem_seg.data.max() < len(CLASSES)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
def test_mmsegs_default_device_is_told_where_there_is_none():
    with pytest.raises(UserError, match="There is no device 'cuda:0'"):
        init_model(TRAINING_FREE)


def test_the_inferencer_takes_configs_and_not_our_names(wanted, tmp_path):
    inferencer = MMSegInferencer(TRAINING_FREE, device='cpu', show_progress=False)
    found = inferencer(SCENE, return_vis=True, out_dir=str(tmp_path))
    assert np.array_equal(found['predictions'], wanted.labels)
    assert found['visualization'].shape == wanted.image.shape
    assert list((tmp_path / 'vis').iterdir()) and list((tmp_path / 'pred').iterdir())
    with pytest.raises(ValueError, match='Cannot find model: maskclip-tiny'):
        MMSegInferencer('maskclip-tiny', device='cpu')
    assert find_model('maskclip-tiny').config_path.samefile(TRAINING_FREE)


def small_test(folder, config=TRAINING_FREE):
    """A config whose test takes two scenes."""
    path = folder / 'small.py'
    path.write_text(
        f'_base_ = {config!r}\n'
        'test_dataloader = dict(dataset=dict(num_scenes=2, size=(64, 64)))\n'
        "test_evaluator = [dict(type='OVIoUMetric')]\n"
    )
    return path


def test_mmengines_runner_tests_a_config(tmp_path):
    config = Config.fromfile(small_test(tmp_path))
    config.work_dir = str(tmp_path / 'work')
    assert 0 <= Runner.from_cfg(config).test()['mIoU'] <= 100


def run_tool(name, *words, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, words)])
    runpy.run_path(str(MMSEG_TOOLS / name), run_name='__main__')


def test_mmsegs_test_tool_takes_no_checkpoint_for_what_has_none(tmp_path, monkeypatch):
    words = ['--work-dir', tmp_path / 'work']
    run_tool('test.py', small_test(tmp_path), 'ovseg://none', *words, monkeypatch=monkeypatch)
    assert list((tmp_path / 'work').rglob('*.log'))
    trained = small_test(tmp_path, TRAINED)
    with pytest.raises(UserError, match='DenseCLIP needs trained weights'):
        run_tool('test.py', trained, 'ovseg://none', *words, monkeypatch=monkeypatch)


@pytest.mark.parametrize(
    ('backend', 'library', 'file'),
    [
        ('LocalVisBackend', 'mmengine', 'scalars.json'),
        ('TensorboardVisBackend', 'tensorboard', 'events.out.tfevents.*'),
        ('WandbVisBackend', 'wandb', '*.wandb'),
    ],
)
def test_mmsegs_training_tool_reports_to_mmengines_backends(
    tmp_path, monkeypatch, backend, library, file
):
    module = pytest.importorskip(library)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    path = small_test(tmp_path, TRAINED)
    with path.open('a') as config:
        config.write(
            'val_dataloader = test_dataloader\n'
            'val_evaluator = test_evaluator\n'
            'train_cfg = dict(max_iters=1)\n'
            'train_dataloader = dict(batch_size=2)\n'
            f'visualizer = dict(name={backend!r}, vis_backends=[dict(type={backend!r})])\n'
        )
    run_tool('train.py', path, '--work-dir', tmp_path / 'work', monkeypatch=monkeypatch)
    if library == 'wandb':
        module.finish()
    assert list((tmp_path / 'work').rglob(file)) and list((tmp_path / 'work').glob('iter_1.pth'))


def test_get_flops_counts_what_has_a_decode_head(monkeypatch, capsys, built):
    name = 'analysis_tools/get_flops.py'
    run_tool(name, TRAINED, '--shape', 64, 64, monkeypatch=monkeypatch)
    assert 'Flops: ' in capsys.readouterr().out
    with pytest.raises(AttributeError, match='decode_head'):
        run_tool(name, TRAINING_FREE, '--shape', 64, 64, monkeypatch=monkeypatch)
    counted = get_model_complexity_info(
        built, inputs=torch.zeros(1, 3, 64, 64), show_table=False, show_arch=False
    )
    assert counted['flops'] > 0 and counted['params'] > 0


def test_browse_dataset_shows_training_pictures_in_files(tmp_path, monkeypatch):
    from PIL import Image

    for part in ('images', 'labels'):
        (tmp_path / part).mkdir()
    for index in range(2):
        Image.new('RGB', (40, 40), (90, 50, index)).save(tmp_path / 'images' / f'{index}.png')
        Image.new('L', (40, 40), index).save(tmp_path / 'labels' / f'{index}.png')
    path = tmp_path / 'browse.py'
    path.write_text(
        f'_base_ = {str(ROOT / "configs" / "_base_" / "default_runtime.py")!r}\n'
        'train_dataloader = dict(dataset=dict(\n'
        f"    type='LabelledFolderDataset', data_root={str(tmp_path)!r},\n"
        "    data_prefix=dict(img_path='images', seg_map_path='labels'),\n"
        "    metainfo=dict(classes=['cat', 'wall']),\n"
        "    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),\n"
        "              dict(type='PackSegInputs')]))\n"
    )
    words = [path, '--not-show', '--output-dir', tmp_path / 'shown']
    run_tool('analysis_tools/browse_dataset.py', *words, monkeypatch=monkeypatch)
    assert len(list((tmp_path / 'shown').iterdir())) == 2


def test_mmdets_interfaces_take_detectors_of_denseclip(tmp_path):
    from mmdet.apis import inference_detector, init_detector

    path = ROOT / 'configs' / 'denseclip' / 'retinanet_denseclip_tiny_500_scenes-192x192.py'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.manual_seed(0)
        config = Config.fromfile(path)
        model = init_detector(config, None, palette='random', device='cpu')
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'model.pth')
        model = init_detector(path, str(tmp_path / 'model.pth'), palette='random', device='cpu')
        found = inference_detector(model, SCENE)
    assert found.pred_instances.bboxes.shape[1] == 4


def test_confusion_matrix_reads_the_label_maps_of_our_test_tool(tmp_path, monkeypatch):
    config = small_test(tmp_path)
    words = ['--out', str(tmp_path / 'out'), '--work-dir', str(tmp_path / 'work')]
    assert load_script('test').main([str(config), *words]) == 0
    saved = []  # 83 million pixels, which nobody looks at here
    monkeypatch.setattr('matplotlib.pyplot.savefig', lambda path, **_: saved.append(path))
    monkeypatch.setattr('matplotlib.figure.Figure.tight_layout', lambda _: None)
    name = 'analysis_tools/confusion_matrix.py'
    run_tool(name, config, tmp_path / 'out', tmp_path / 'matrix', monkeypatch=monkeypatch)
    assert saved == [str(tmp_path / 'matrix' / 'confusion_matrix.png')]
