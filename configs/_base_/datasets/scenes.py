"""Scenes val: 200 procedural scenes of 192 x 192 pixels, seven materials and ten objects."""

on = 'scenes'
words = [
    *['sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor'],
    *['star', 'heart', 'ball', 'donut', 'flower', 'fish', 'mushroom', 'kite', 'leaf', 'target'],
]
# What the training of tiny models that propose masks leaves out (configs/ovseg).
unseen = ['sand', 'brick wall', 'donut', 'flower', 'mushroom', 'kite']
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ScenesDataset',
        split='val',
        num_scenes=200,
        size=(192, 192),
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_evaluator = [dict(type='OVIoUMetric'), dict(type='BoundaryIoUMetric')]
test_cfg = dict(type='TestLoop')
# Where the suites of examples draw these from: what differs from the test's data set.
support = dict(split='train', num_scenes=200)
