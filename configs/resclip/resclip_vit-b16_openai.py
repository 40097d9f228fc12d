_base_ = ['../_base_/models/resclip.py', '../_base_/protocols/resclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
