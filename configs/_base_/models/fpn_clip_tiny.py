# The plain-CLIP baseline of the tiny DenseCLIP: the same Semantic FPN, without words.
_base_ = './denseclip_fpn_tiny.py'
model = dict(
    _delete_=True,
    type='TrainedSegmentor',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone=dict(
        type='CLIPVisionTransformer',
        patch_size=8,
        width=128,
        layers=3,
        heads=4,
        input_resolution=192,
        out_indices=[0, 1, 2, 2],
        activation='gelu',
        pretrained=dict(model='tiny_clip_scenes', pretrained='embedded'),
    ),
    neck={{_base_.model.neck}},
    decode_head={{_base_.model.decode_head}},
    test_cfg=dict(mode='whole'),
)
