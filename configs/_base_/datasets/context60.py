"""Pascal Context val, 59 classes and background."""

_base_ = './label_maps.py'
on = 'context60'
data_root = 'data/VOCdevkit/VOC2010'
test_dataloader = dict(
    dataset=dict(
        type='Context60Dataset',
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
