"""ADE20K val, 150 classes, 100 of them things."""

_base_ = './panoptic.py'
on = 'ade20k_panoptic'
data_root = 'data/ade/ADEChallengeData2016'
test_dataloader = dict(
    dataset=dict(
        type='ADE20KPanopticDataset',
        data_root=data_root,
        ann_file='ade20k_panoptic_val.json',
        data_prefix=dict(img_path='images/validation', seg_map_path='ade20k_panoptic_val'),
    )
)
