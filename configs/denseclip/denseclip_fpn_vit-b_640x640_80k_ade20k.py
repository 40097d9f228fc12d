_base_ = [
    '../_base_/models/denseclip_fpn_vit-b.py',
    '../_base_/datasets/denseclip_ade20k_640.py',
    '../_base_/schedules/denseclip_80k.py',
]
model = dict(
    vocabulary=dict(dataset='ade20k', protocol='mmseg_metainfo'),
    neck=dict(in_channels=[768, 768, 768 + 150, 768]),
)
