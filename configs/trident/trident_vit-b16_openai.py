_base_ = ['../_base_/models/trident.py', '../_base_/protocols/trident.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
