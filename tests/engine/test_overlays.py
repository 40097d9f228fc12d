from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from ovseg.engine import OverlayHook
from ovseg.errors import UserError
from ovseg.vocabulary import Vocabulary

META = {'classes': ('one', 'two'), 'palette': ((250, 0, 0), (0, 0, 250))}


def run(hook, path, labels, model, inputs=None, truth=None):
    sample = SegDataSample(metainfo={'img_path': str(path)})
    if truth is not None:
        sample.gt_sem_seg = PixelData(data=torch.as_tensor(truth)[None])
    sample.pred_sem_seg = PixelData(data=torch.as_tensor(labels)[None])
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=META))
    runner = SimpleNamespace(model=model, test_dataloader=loader)
    hook.after_test_iter(runner, 0, {'inputs': inputs}, [sample])


def picture(folder, name='x'):
    return cv2.imread(str(folder / f'{name}.png'))[..., ::-1]


@pytest.mark.parametrize('nested', [False, True])
def test_generated_images_are_taken_from_the_batch(tmp_path, nested):
    # BGR, half as large as the labels; under augmentation there are several versions of it.
    image = torch.zeros(3, 240, 250, dtype=torch.uint8)
    image[2] = 200
    inputs = [[image], [image.flip(0)]] if nested else [image]
    hook = OverlayHook(str(tmp_path), opacity=0.0)
    run(hook, 'x.png', np.zeros((480, 500), int), nn.Identity(), inputs)
    assert picture(tmp_path)[100, 100].tolist() == [200, 0, 0]


def test_file_colours_and_names_of_the_vocabulary(tmp_path):
    source = tmp_path / 'x.png'
    cv2.imwrite(str(source), np.full((480, 500, 3), (0, 0, 200), np.uint8))
    labels = np.zeros((480, 500), int)
    labels[:, 250:] = 1
    model = nn.Module()
    run(OverlayHook(str(tmp_path / 'a'), opacity=1.0), source, labels, model)
    assert picture(tmp_path / 'a')[100, [100, 400]].tolist() == [[250, 0, 0], [0, 0, 250]]
    classes = {'classes': ['uno', 'due'], 'palette': [(1, 2, 3), (4, 5, 6)]}
    model.vocabulary = Vocabulary.parse(classes)
    run(OverlayHook(str(tmp_path / 'b'), opacity=1.0), source, labels, model)
    assert picture(tmp_path / 'b')[100, [100, 400]].tolist() == [[1, 2, 3], [4, 5, 6]]
    run(OverlayHook(str(tmp_path / 'c'), opacity=0.0), source, labels, model)
    assert picture(tmp_path / 'c')[100, 100].tolist() == [200, 0, 0]


def test_the_ground_truth_stands_beside_where_there_is_one(tmp_path):
    image = torch.full((3, 480, 500), 200, dtype=torch.uint8)
    truth = np.ones((240, 250), np.uint8)
    truth[:60] = 255
    hook = OverlayHook(str(tmp_path), opacity=1.0)
    run(hook, 'x.png', np.zeros((480, 500), int), nn.Module(), [image], truth)
    shown = picture(tmp_path)
    assert shown.shape[1] > 1000
    below = len(shown) - 480
    assert shown[below // 2 + 300, [100, -100]].tolist() == [[0, 0, 250], [250, 0, 0]]
    assert shown[below + 20, 100].tolist() == [200, 200, 200]


def test_windows_need_a_display(monkeypatch):
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'Agg')
    with pytest.raises(UserError, match='--show needs a display'):
        OverlayHook(show=True)


def test_windows_show_the_picture_for_as_long_as_asked(monkeypatch):
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    monkeypatch.setattr('matplotlib.get_backend', lambda: 'QtAgg')
    shown, waited = [], []
    monkeypatch.setattr(plt, 'imshow', shown.append)
    monkeypatch.setattr(plt, 'pause', waited.append)
    image = torch.zeros(3, 480, 500, dtype=torch.uint8)
    run(
        OverlayHook(show=True, wait_time=0.5),
        'x.png',
        np.ones((480, 500), int),
        nn.Module(),
        [image],
    )
    assert waited == [0.5] and shown[0].shape[2] == 3
