# DenseCLIP's recipe for any backbone on a Swin-T from ImageNet.
_base_ = './denseclip_fpn_imagenet-r50.py'
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='SwinTransformer',
            embed_dims=96,
            depths=[2, 2, 6, 2],
            num_heads=[3, 6, 12, 24],
            window_size=7,
            drop_path_rate=0.3,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/'
                'swin_tiny_patch4_window7_224_20220317-1cdeb081.pth',
            ),
        ),
        in_channels=768,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
