_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(
    clip=dict(model='ViT-H-14-worldwide-quickgelu', pretrained='metaclip2_worldwide'),
    **_base_.settings,
)
