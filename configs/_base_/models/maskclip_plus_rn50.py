# MaskCLIP+ as released: DeepLabv2 on ResNet-101 learns from MaskCLIP with CLIP's RN50.
# The teacher is that of maskclip_rn50_openai.py.
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='MaskCLIPPlusSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', size=(512, 512), seg_pad_val=255, **statistics
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(
        type='MaskCLIPPlusHead',
        channels=1024,
        decode_module=dict(
            type='DeepLabV2Module',
            in_channels=2048,
            dilations=(6, 12, 18, 24),
            norm_cfg=norm_cfg,
        ),
    ),
    teacher=dict(
        type='TrainingFreeSegmentor',
        clip=dict(model='RN50-quickgelu', pretrained='openai'),
        data_preprocessor=dict(type='SegDataPreProcessor', **statistics),
        encoder=dict(pooling='value'),
        text=dict(templates='maskclip-85'),
        test_cfg=dict(mode='whole'),
    ),
    test_cfg=dict(mode='whole'),
)
