"""COCO-Stuff 164k val, 171 classes."""

_base_ = './label_maps.py'
data_root = 'data/coco_stuff164k'
test_dataloader = dict(
    dataset=dict(
        type='COCOStuff164kDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
