from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from ovseg.engine import OVSegTTA, augmented_pipeline
from ovseg.errors import UserError
from ovseg.segmentors import Segmentor
from ovseg.vocabulary import Rejection

PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadSegLabels'},
    {'type': 'PackSegInputs'},
]


class Echo(nn.Module):
    """Predicts its input: (K, H, W) scores."""

    def test_step(self, data):
        samples = []
        for scores in data['inputs']:
            sample = SegDataSample()
            sample.seg_logits = PixelData(data=scores.clone())
            sample.pred_sem_seg = PixelData(data=scores.argmax(0, keepdim=True))
            samples.append(sample)
        return samples


class EchoOfLogarithms(Segmentor):
    """One of ours predicts its input as logarithms of probabilities, on request."""

    encode = scores = build_classifier = extract_feat = loss = protocol = None
    device = torch.device('cpu')

    def __init__(self, vocabulary):
        super().__init__()
        self.words = SimpleNamespace(vocabulary=vocabulary)

    def predict(self, inputs, data_samples=None, keep_scores=None):
        assert keep_scores
        return Echo().test_step({'inputs': inputs})


def labels(module, versions):
    data = {'inputs': versions, 'data_samples': [[None] * len(part) for part in versions]}
    samples = OVSegTTA(module).test_step(data)
    assert all('seg_logits' not in sample for sample in samples)
    return [sample.pred_sem_seg.data for sample in samples]


def test_decides_on_the_mean_of_probabilities_not_of_scores():
    # Two versions are a little for class 1, one is without doubt for class 0.
    scores = torch.tensor([[[[50.0]], [[0.0]]], [[[0.0]], [[0.4]]], [[[0.0]], [[0.4]]]])
    assert labels(Echo(), [[part] for part in scores])[0].item() == 0
    scores = torch.tensor([[[[50.0]], [[0.0]]], [[[0.0]], [[3.0]]], [[[0.0]], [[3.0]]]])
    assert labels(Echo(), [[part] for part in scores])[0].item() == 1


def test_equals_the_mean_computed_at_once_for_each_image():
    versions = torch.randn(4, 2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    expected = versions.softmax(2).mean(0).argmax(1)
    found = labels(Echo(), [list(part) for part in versions])
    assert torch.equal(torch.cat(found), expected)


def test_log_probabilities_are_not_normalised_again():
    # Shares of the best word of each class: they need not sum to 1.
    shares = torch.tensor([[[0.30], [0.10]], [[0.05], [0.20]]])[..., None]
    rejecting = SimpleNamespace(background_index=1, rejection=Rejection('threshold', 0.2))
    module = EchoOfLogarithms(rejecting)
    assert labels(module, [[part.log()] for part in shares])[0].item() == 1
    rejecting.rejection = Rejection('threshold', 0.1)
    assert labels(module, [[part.log()] for part in shares])[0].item() == 0


def test_a_margin_is_one_of_the_mean_and_an_energy_is_refused():
    shares = torch.tensor([[[0.5], [0.4]], [[0.4], [0.4]]])[..., None]
    module = EchoOfLogarithms(SimpleNamespace(background_index=1, rejection=None))
    for margin, label in ((0.02, 0), (0.08, 1)):
        module.words.vocabulary.rejection = Rejection('margin', margin=margin)
        assert labels(module, [[part.log()] for part in shares])[0].item() == label
    module.words.vocabulary.rejection = Rejection('energy', energy=0.0)
    with pytest.raises(UserError, match='which tell no energies'):
        OVSegTTA(module)


def test_labels_are_those_of_the_version_that_left_them_alone():
    class Labelled(Echo):
        def test_step(self, data):
            for sample, (size, flip) in zip(
                samples := super().test_step(data), data['data_samples'], strict=True
            ):
                sample.set_metainfo({'ori_shape': (2, 3), 'flip': flip})
                sample.gt_sem_seg = PixelData(data=torch.full((1, *size), int(flip)))
            return samples

    kinds = [((1, 2), False), ((1, 2), True), ((2, 3), True), ((2, 3), False), ((4, 6), False)]
    data = {'inputs': [[torch.zeros(2, 2, 3)]] * 5, 'data_samples': [[kind] for kind in kinds]}
    (sample,) = OVSegTTA(Labelled()).test_step(data)
    assert torch.equal(sample.gt_sem_seg.data, torch.zeros(1, 2, 3).long())


def test_one_class_is_decided_by_its_own_probability():
    scores = torch.tensor([[[-1.0, 3.0]]])
    assert labels(Echo(), [[scores], [scores]])[0].tolist() == [[[0, 1]]]


def test_merging_gives_the_same_as_stepping():
    versions = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    stepped = labels(Echo(), [[part] for part in versions])[0]
    module = Echo()
    samples = [module.test_step({'inputs': [part]})[0] for part in versions]
    merged = OVSegTTA(module).merge_preds([samples])[0].pred_sem_seg.data
    assert torch.equal(merged, stepped)


def branches(steps):
    assert steps[0]['type'] == 'LoadImageFromFile' and steps[1]['type'] == 'TestTimeAug'
    return steps[1]['transforms']


@pytest.mark.parametrize('in_pipeline', [True, False])
def test_pipeline_scales_the_rule_of_the_protocol(in_pipeline):
    rule = {'scale': (2048, 448), 'keep_ratio': True}
    pipeline = [PIPELINE[0], {'type': 'Resize', **rule}, *PIPELINE[1:]] if in_pipeline else PIPELINE
    resizes, flips, loading, packing = branches(
        augmented_pipeline(pipeline, None if in_pipeline else rule, ratios=(0.5, 1.0))
    )
    assert [step['scale'] for step in resizes] == [(1024, 224), (2048, 448)]
    assert all(step['keep_ratio'] for step in resizes)
    assert [step['prob'] for step in flips] == [0.0, 1.0]
    assert [loading[0]['type'], packing[0]['type']] == ['LoadSegLabels', 'PackSegInputs']


def test_one_version_is_decided_by_the_model_itself():
    class Refining(Echo):
        def test_step(self, data):
            samples = super().test_step(data)
            for sample in samples:
                sample.pred_sem_seg.data[...] = 7
            return samples

    assert labels(Refining(), [[torch.zeros(2, 1, 1)]])[0].tolist() == [[[7]]]


def test_pipeline_without_mirror_images():
    flips = branches(augmented_pipeline(PIPELINE, ratios=(1.0,), flip=False))[1]
    assert [step['prob'] for step in flips] == [0.0]


def test_pipeline_without_a_rule_scales_the_image():
    resizes = branches(augmented_pipeline(PIPELINE))[0]
    assert [step['scale_factor'] for step in resizes] == [0.75, 1.0, 1.25]


def test_a_rule_that_cannot_be_scaled_stops():
    with pytest.raises(UserError, match="cannot scale .*'ResizeShortestEdge'"):
        augmented_pipeline(PIPELINE, {'type': 'ResizeShortestEdge', 'max_size': 9})
    with pytest.raises(UserError, match='packs last'):
        augmented_pipeline(PIPELINE[:2])
