# MaskCLIP as released (arXiv 2112.01071), for CLIP's ResNets. The released test pipeline normalises
# with ImageNet's statistics although the weights are CLIP's; its numbers include that.
model = dict(
    type='TrainingFreeSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    encoder=dict(pooling='value'),
    text=dict(templates='maskclip-85'),
    test_cfg=dict(mode='whole'),
)
