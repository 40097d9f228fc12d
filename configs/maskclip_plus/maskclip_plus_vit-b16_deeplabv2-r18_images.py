# A folder of photographs and a small student: a config of yours sets words and folders
# (docs/label_my_folder.md).
_base_ = './maskclip_plus_vit-b16_deeplabv2-r101_images.py'

model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(checkpoint='open-mmlab://resnet18_v1c'),
    ),
    decode_head=dict(decode_module=dict(in_channels=512)),
)
