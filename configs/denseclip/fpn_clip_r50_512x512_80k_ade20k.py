_base_ = [
    '../_base_/models/fpn_clip_r50.py',
    '../_base_/datasets/denseclip_ade20k.py',
    '../_base_/schedules/fpn_clip_80k.py',
]
model = dict(vocabulary=dict(dataset='ade20k', protocol='mmseg_metainfo'))
