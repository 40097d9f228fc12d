# As the released config is committed: its name says R-101, but it trains a ResNet-50.
_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_cityscapes.py',
    '../_base_/protocols/maskclip_cityscapes.py',
    '../_base_/schedules/maskclip_plus_4k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')),
    vocabulary=dict(dataset='cityscapes', protocol='maskclip'),
)
