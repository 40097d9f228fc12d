# The plain-CLIP baseline: the same Semantic FPN on CLIP's RN50, without words.
_base_ = './denseclip_fpn_r50.py'
model = dict(
    _delete_=True,
    type='TrainedSegmentor',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone=dict(
        type='CLIPResNet',
        layers=[3, 4, 6, 3],
        pretrained=dict(model='RN50-quickgelu', pretrained='openai'),
    ),
    neck={{_base_.model.neck}},
    decode_head={{_base_.model.decode_head}},
    test_cfg={{_base_.model.test_cfg}},
)
