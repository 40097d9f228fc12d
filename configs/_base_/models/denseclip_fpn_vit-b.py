_base_ = './denseclip_fpn_r50.py'
model = dict(
    pretrained=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        _delete_=True,
        type='CLIPVisionTransformer',
        patch_size=16,
        width=768,
        layers=12,
        output_dim=512,
        input_resolution=640,
        drop_path_rate=0.1,
        get_embeddings=True,
    ),
    text_encoder=dict(embed_dim=512),
    context_decoder=dict(visual_dim=512),
    neck=dict(in_channels=[768, 768, 768, 768]),
    text_dim=512,
    score_concat_index=2,
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
