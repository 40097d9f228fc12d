"""Mapillary Vistas 1.2 validation, 65 classes, 37 of them things."""

_base_ = './panoptic.py'
on = 'mapillary_panoptic'
data_root = 'data/mapillary_vistas'
test_dataloader = dict(
    dataset=dict(
        type='MapillaryPanopticDataset',
        data_root=data_root,
        ann_file='validation/panoptic/panoptic_2018.json',
        data_prefix=dict(img_path='validation/images', seg_map_path='validation/panoptic'),
    )
)
