"""Boxes and visible masks of the objects in Scenes, otherwise as scenes_detection.py."""

_base_ = ['./scenes_detection.py']
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]
    )
)
test_evaluator = dict(metric=['bbox', 'segm'])
