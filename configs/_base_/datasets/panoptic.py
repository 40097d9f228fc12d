"""What testing on every data set of things and stuff has in common.

A data set's file adds its name for `--on`, its class, its folders and its annotation file; a
protocol adds the resize rule. Segments are compared at the image's own size.
"""

_base_ = './panoptic_keys.py'
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadPanopticMap'),
            dict(type='PackSegInputs', meta_keys=_base_.meta_keys),
        ]
    ),
)
test_evaluator = [dict(type='PanopticQualityMetric'), dict(type='MaskAPMetric')]
test_cfg = dict(type='TestLoop')
