"""COCO 2017 val, 80 things and background."""

_base_ = './label_maps.py'
on = 'coco_object'
data_root = 'data/coco_stuff164k'
test_dataloader = dict(
    dataset=dict(
        type='COCOObjectDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
