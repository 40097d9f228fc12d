# Ours: no number of this setting is published.
_base_ = [
    '../_base_/models/denseclip_upernet_r50.py',
    '../_base_/datasets/denseclip_ade20k.py',
    '../_base_/schedules/denseclip_80k.py',
]
model = dict(
    vocabulary=dict(dataset='ade20k', protocol='mmseg_metainfo'),
    decode_head=dict(in_channels=[256, 512, 1024, 2048 + 150]),
)
