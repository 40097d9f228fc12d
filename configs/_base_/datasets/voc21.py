"""VOC 2012 val with background."""

_base_ = './label_maps.py'
on = 'voc21'
data_root = 'data/VOCdevkit/VOC2012'
test_dataloader = dict(
    dataset=dict(
        type='VOC21Dataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
)
# Whose classes are novel in an episode of the suite of that name.
folds = 'pascal-5i'
# For training: trainaug, 10582 images.
training = dict(
    ann_file='ImageSets/Segmentation/trainaug.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
)
