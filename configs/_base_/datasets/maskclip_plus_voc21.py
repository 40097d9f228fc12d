"""VOC 2012 trainaug (10582 images), with background, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_512x512.py'
train_dataloader = dict(
    dataset=dict(
        type='VOC21Dataset',
        data_root='data/VOCdevkit/VOC2012',
        ann_file='ImageSets/Segmentation/trainaug.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    )
)
