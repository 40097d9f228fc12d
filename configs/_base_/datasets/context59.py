"""Pascal Context val, 59 classes without background."""

_base_ = './label_maps.py'
on = 'context59'
data_root = 'data/VOCdevkit/VOC2010'
test_dataloader = dict(
    dataset=dict(
        type='Context59Dataset',
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
    )
)
# For training: train, 4996 images.
training = dict(
    ann_file='ImageSets/SegmentationContext/train.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
)
