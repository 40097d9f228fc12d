"""What testing on every data set with label maps has in common.

A data set's file adds its name for `--on`, its class and its folders; a protocol adds the resize
rule. Labels load after the resize, so predictions are compared at the image's own size.
"""

test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            dict(type='PackSegInputs'),
        ]
    ),
)
# The metric takes the ignore value from the data set: 255, or 65535 beyond 255 classes.
test_evaluator = dict(type='OVIoUMetric')
test_cfg = dict(type='TestLoop')
