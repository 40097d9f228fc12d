_base_ = ['../_base_/models/naclip.py', '../_base_/protocols/naclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
