_base_ = [
    '../_base_/models/fpn_clip_vit-b.py',
    '../_base_/datasets/denseclip_ade20k_640.py',
    '../_base_/schedules/fpn_clip_80k.py',
]
model = dict(vocabulary=dict(dataset='ade20k', protocol='mmseg_metainfo'))
