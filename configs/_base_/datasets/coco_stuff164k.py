"""COCO-Stuff 164k val, 171 classes."""

_base_ = './label_maps.py'
on = 'coco_stuff164k'
data_root = 'data/coco_stuff164k'
test_dataloader = dict(
    dataset=dict(
        type='COCOStuff164kDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
# For training.
training = dict(data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'))
