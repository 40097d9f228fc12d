"""Scenes val with objects told apart: materials are stuff, each object is a thing of its own."""

_base_ = ['./scenes.py', './panoptic_keys.py']
on = 'scenes_panoptic'
test_dataloader = dict(
    dataset=dict(
        type='ScenesPanopticDataset',
        pipeline=[
            dict(type='LoadPanopticScene'),
            dict(type='PackSegInputs', meta_keys=_base_.meta_keys),
        ],
    ),
)
test_evaluator = [dict(type='PanopticQualityMetric'), dict(type='MaskAPMetric')]
