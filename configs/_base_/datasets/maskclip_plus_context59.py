"""Pascal Context train (4996 images), 59 classes without background, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_480x480.py'
train_dataloader = dict(
    dataset=dict(
        type='Context59Dataset',
        data_root='data/VOCdevkit/VOC2010',
        ann_file='ImageSets/SegmentationContext/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
    )
)
