# A MaskFormer of 2 million parameters for the text space of the tiny CLIP that ships with ovseg.
_base_ = './ovseg_maskformer_swin-b.py'

model = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        stem_channels=24,
        base_channels=24,
        norm_cfg=dict(type='BN'),
    ),
    proposals=dict(
        in_channels=[24, 48, 96, 192],
        embed_dim=128,
        num_queries=20,
        feat_channels=64,
        mask_channels=64,
        hidden_channels=64,
        num_heads=4,
        feedforward_channels=256,
        num_layers=3,
        class_channels=128,
        norm_groups=8,
    ),
    text=dict(templates='a(n) {}', logit_scale=100),
)
