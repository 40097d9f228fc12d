_base_ = './fpn_clip_r50.py'
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        _delete_=True,
        type='CLIPVisionTransformer',
        patch_size=16,
        width=768,
        layers=12,
        input_resolution=640,
        drop_path_rate=0.1,
        pretrained=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
    ),
    neck=dict(in_channels=[768, 768, 768, 768]),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
