# OVSeg's MaskFormer on a ResNet-101 with a stem of three convolutions, for the text space of CLIP's
# ViT-B/16, as released: frozen norms, stem and first stage do not train.
_base_ = './ovseg_maskformer_swin-b.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNetV1c',
        depth=101,
        stem_channels=128,
        base_channels=64,
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        multi_grid=(1, 2, 4),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        frozen_stages=1,
        # ImageNet; detectron2's DeepLab/R-103.pkl after tools/convert_detectron2_backbone.py.
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/R-103.pth'),
    ),
    proposals=dict(in_channels=[256, 512, 1024, 2048], embed_dim=512),
)
