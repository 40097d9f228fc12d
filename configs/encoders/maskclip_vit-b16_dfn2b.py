_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='dfn2b'), **_base_.settings)
