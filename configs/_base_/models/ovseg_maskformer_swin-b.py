# OVSeg's MaskFormer on Swin-B, for the text space of CLIP's ViT-L/14, as released. A config adds
# the CLIP and the words.
model = dict(
    type='OVSeg',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=32,  # in training; after it the segmentor pads, as CLIP wants images without
    ),
    backbone=dict(
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        window_size=12,
        drop_path_rate=0.3,
        # ImageNet-22k.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
            'swin_base_patch4_window12_384_22k_20220317-e5c09f74.pth',
        ),
    ),
    proposals=dict(
        type='OpenVocabularyMaskFormer',
        in_channels=[128, 256, 512, 1024],
        embed_dim=768,
    ),
)
