from __future__ import annotations

import json

import pytest
from mmcv.transforms import Compose, LoadImageFromFile, Resize
from torch import nn

from ovseg.evaluation import EvaluationProtocol
from ovseg.evaluation.protocol import resize_of


class Data(list):
    metainfo = {'classes': ['cat', 'dog']}
    data_prefix = {'img_path': 'data/pets/images'}
    resize = {'type': 'Resize', 'scale': (2048, 448), 'keep_ratio': True}


class TrainingFree(nn.Module):
    def protocol(self):
        return {
            'model': 'ViT-B-16',
            'weights': 'openai',
            'refiners': [],
            'mode': 'slide',
            'window': (336, 448),
            'stride': (112, 224),
            'vocabulary': 'pets/maskclip',
            'templates': 'openai-80',
            'synonyms': 'mean',
            'background': 'none',
        }


class Trained(nn.Module):
    test_cfg = {'mode': 'slide', 'crop_size': (512, 512), 'stride': (341, 341)}


def test_everything_that_a_model_says_is_in_it():
    protocol = EvaluationProtocol.describe(TrainingFree(), Data([1, 2, 3]), 'mIoU_present')
    assert protocol.resize == 'scale 2048 x 448, keep_ratio True'
    assert (protocol.mode, protocol.window, protocol.stride) == ('slide', (336, 448), (112, 224))
    assert (protocol.vocabulary, protocol.templates) == ('pets/maskclip', 'openai-80')
    assert protocol.model == {'type': 'TrainingFree', 'model': 'ViT-B-16'}
    assert (protocol.dataset, protocol.data) == ('Data', 'data/pets/images')
    assert (protocol.images, protocol.classes, protocol.weights) == (3, 2, 'openai')
    assert protocol.headline.startswith('mIoU_present over classes that are labelled')


def test_a_trained_model_is_described_from_outside():
    protocol = EvaluationProtocol.describe(Trained(), Data(), checkpoint='iter_1.pth')
    assert (protocol.mode, protocol.window, protocol.stride) == ('slide', (512, 512), (341, 341))
    assert protocol.weights == 'iter_1.pth'
    assert protocol.vocabulary == 'fixed by training'


def test_table_and_json_say_the_same():
    protocol = EvaluationProtocol.describe(TrainingFree(), Data())
    facts = json.loads(json.dumps(protocol.to_dict()))
    assert facts['window'] == [336, 448]
    assert set(facts['versions']) >= {'ovseg', 'torch', 'mmengine', 'mmseg', 'mmcv', 'python'}
    table = protocol.table()
    assert all(name in table for name in facts)
    assert '336 x 448' in table and 'pets/maskclip' in table


def test_an_unknown_headline_is_not_described():
    with pytest.raises(KeyError):
        EvaluationProtocol.describe(TrainingFree(), Data(), 'mDice')


def test_resize_rule_is_found_wherever_it_stands():
    words = 'scale 64 x 32, keep_ratio True'
    rule = {'scale': (64, 32), 'keep_ratio': True}
    plain = {'type': 'LoadImageFromFile'}
    assert resize_of({'resize': rule, 'pipeline': [plain]}) == words
    assert resize_of({'pipeline': [plain, {'type': 'Resize', **rule}]}) == words
    built = Data()
    built.resize, built.pipeline = None, Compose([LoadImageFromFile(), Resize(**rule)])
    assert resize_of(built) == words
    built.pipeline = Compose([LoadImageFromFile()])
    assert resize_of(built) == resize_of({'pipeline': [plain]}) == 'none'


class Objects(Data):
    data_prefix = {'img': 'data/coco/val2017/'}
    ann_file = 'data/coco/annotations/instances_val2017.json'


@pytest.mark.parametrize('nested', [False, True])
def test_a_detector_says_which_objects_and_which_detections_count(nested):
    rule = {'score_thr': 0.05, 'max_per_img': 100, 'nms': {'type': 'nms', 'iou_threshold': 0.5}}
    detector = nn.Module()
    detector.test_cfg = {'rpn': {'max_per_img': 1000}, 'rcnn': rule} if nested else rule
    protocol = EvaluationProtocol.describe(detector, Objects([1]), 'mask AP')
    assert protocol.data == 'data/coco/val2017/, objects of ' + Objects.ann_file
    assert protocol.model['detections'] == (
        '100 an image at most, score above 0.05, nms at IoU 0.5'
    )
    assert protocol.headline.startswith('mask AP') and protocol.resize.startswith('scale 2048')
