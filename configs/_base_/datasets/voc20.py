"""VOC 2012 val without background."""

_base_ = './label_maps.py'
on = 'voc20'
data_root = 'data/VOCdevkit/VOC2012'
test_dataloader = dict(
    dataset=dict(
        type='VOC20Dataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
)
# For training: trainaug, 10582 images.
training = dict(
    ann_file='ImageSets/Segmentation/trainaug.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
)
