"""Cityscapes val, 19 classes."""

_base_ = './label_maps.py'
on = 'cityscapes'
data_root = 'data/cityscapes'
test_dataloader = dict(
    dataset=dict(
        type='CityscapesSegDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    )
)
# For training.
training = dict(data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'))
