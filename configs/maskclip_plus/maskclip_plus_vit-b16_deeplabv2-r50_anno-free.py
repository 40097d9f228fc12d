# As the released configs are committed: their names say R-101, but they train a ResNet-50.
_base_ = './maskclip_plus_vit-b16_deeplabv2-r101_anno-free.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')))
