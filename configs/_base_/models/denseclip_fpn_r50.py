# DenseCLIP with Semantic FPN on CLIP's RN50, as released. A config gives it the words of the data
# set, and the neck the width of its coarsest level: 2048 channels and one a class.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='DenseCLIP',
    # OpenAI's weights through open_clip; a path to RN50.pt works, too.
    pretrained=dict(model='RN50-quickgelu', pretrained='openai'),
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='CLIPResNetWithAttention',
        layers=[3, 4, 6, 3],
        output_dim=1024,
        input_resolution=512,
    ),
    text_encoder=dict(
        type='CLIPTextContextEncoder',
        context_length=13,  # 5 tokens of a name, 8 learned ones
        embed_dim=1024,
        transformer_width=512,
        transformer_heads=8,
        transformer_layers=12,
    ),
    context_decoder=dict(
        type='ContextDecoder',
        transformer_width=256,
        transformer_heads=4,
        transformer_layers=3,
        visual_dim=1024,
        dropout=0.1,
    ),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=4),
    decode_head=dict(
        type='FPNHead',
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=256,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0, avg_non_ignore=False),
    ),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4, avg_non_ignore=False),
    ),
    context_length=5,
    text_dim=1024,
    score_concat_index=3,
    # The released recipe gives the text encoder a learning rate of 0, which its schedule raises.
    freeze_text_encoder=False,
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
