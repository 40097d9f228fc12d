_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_voc20.py',
    '../_base_/protocols/maskclip_voc20.py',
    '../_base_/schedules/maskclip_plus_2k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=dict(dataset='voc20', protocol='maskclip'),
)
