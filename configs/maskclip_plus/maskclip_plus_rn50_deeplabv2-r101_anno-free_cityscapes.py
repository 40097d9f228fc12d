_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/datasets/maskclip_plus_cityscapes.py',
    '../_base_/protocols/maskclip_cityscapes.py',
    '../_base_/schedules/maskclip_plus_4k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    vocabulary=dict(dataset='cityscapes', protocol='maskclip'),
)
