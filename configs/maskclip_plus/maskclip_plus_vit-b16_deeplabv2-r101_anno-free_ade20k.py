_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_ade20k.py',
    '../_base_/protocols/maskclip_ade20k.py',
    '../_base_/schedules/maskclip_plus_8k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=dict(dataset='ade20k', protocol='maskclip'),
)
