# A small ResNet that learns from the tiny CLIP, which labels in its windows of 32 pixels.
_base_ = './maskclip_tiny.py'

norm_cfg = dict(type='BN')
model = dict(
    _delete_=True,
    type='MaskCLIPPlusSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        seg_pad_val=255,
        size_divisor=1,
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=3,
        out_indices=(0, 1, 2),
        stem_channels=16,
        base_channels=24,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        norm_cfg=norm_cfg,
        style='pytorch',
    ),
    decode_head=dict(
        type='MaskCLIPPlusHead',
        channels=128,
        avg_non_ignore=True,
        decode_module=dict(
            type='DeepLabV2Module', in_channels=96, dilations=(1, 2, 4, 6), norm_cfg=norm_cfg
        ),
    ),
    teacher={{_base_.model}},
    test_cfg=dict(mode='whole'),
)
