"""Cityscapes val, 19 classes, eight of them things."""

_base_ = './panoptic.py'
on = 'cityscapes_panoptic'
data_root = 'data/cityscapes'
test_dataloader = dict(
    dataset=dict(
        type='CityscapesPanopticDataset',
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/cityscapes_panoptic_val'),
    )
)
