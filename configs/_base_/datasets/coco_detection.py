"""COCO 2017 boxes: training at (1333, 800) with mirrored images, 5000 validation images."""

data_root = 'data/coco/'
# What CLIP is shown, in the order of the labels.
classes = [
    *('person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck'),
    *('boat', 'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench'),
    *('bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra'),
    *('giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis'),
    *('snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard'),
    *('surfboard', 'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife'),
    *('spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli', 'carrot'),
    *('hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed'),
    *('dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard'),
    *('cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book'),
    *('clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush'),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True),
    # After the resize, so that boxes and masks are compared at the size of the file.
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'),
    dataset=dict(
        _scope_='mmdet',
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmdet',
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmdet.CocoMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric='bbox',
)
test_evaluator = val_evaluator
