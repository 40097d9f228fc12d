"""Cityscapes train, 19 classes, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_512x1024.py'
train_dataloader = dict(
    dataset=dict(
        type='CityscapesSegDataset',
        data_root='data/cityscapes',
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    )
)
