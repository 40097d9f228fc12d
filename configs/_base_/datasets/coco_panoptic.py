"""COCO 2017 val, 80 things and 53 stuffs."""

_base_ = './panoptic.py'
on = 'coco_panoptic'
data_root = 'data/coco'
test_dataloader = dict(
    dataset=dict(
        type='COCOPanopticDataset',
        data_root=data_root,
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img_path='val2017', seg_map_path='annotations/panoptic_val2017'),
    )
)
# AP is published on the annotations of single things, which may overlap.
test_evaluator = [
    dict(type='PanopticQualityMetric'),
    dict(type='MaskAPMetric', ann_file=data_root + '/annotations/instances_val2017.json'),
]
