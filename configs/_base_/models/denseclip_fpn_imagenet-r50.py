# DenseCLIP's recipe for any backbone: a ResNet-50 from ImageNet, a new attention pool on its last
# stage, and the text tower of CLIP ViT-B/16. Settings the paper leaves open are ours.
_base_ = './denseclip_fpn_r50.py'
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='BackboneWithAttentionPool',
        backbone=dict(
            type='ResNet',
            depth=50,
            norm_cfg=_base_.norm_cfg,
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
        ),
        in_channels=2048,
        output_dim=512,
        input_resolution=512,
    ),
    text_encoder=dict(
        embed_dim=512, pretrained=dict(model='ViT-B-16-quickgelu', pretrained='openai')
    ),
    context_decoder=dict(visual_dim=512),
    text_dim=512,
)
