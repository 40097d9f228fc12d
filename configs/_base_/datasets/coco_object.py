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
# Whose classes are novel in an episode of the suite of that name.
folds = 'coco-20i'
# What the suites of examples draw these from.
support = dict(data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'))
