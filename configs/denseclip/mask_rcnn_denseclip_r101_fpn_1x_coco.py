_base_ = './mask_rcnn_denseclip_r50_fpn_1x_coco.py'

model = dict(
    pretrained=dict(model='RN101-quickgelu', pretrained='openai'),
    backbone=dict(layers=[3, 4, 23, 3], output_dim=512),
    text_encoder=dict(embed_dim=512),
    context_decoder=dict(visual_dim=512),
    text_dim=512,
)
