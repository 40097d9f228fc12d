_base_ = ['../_base_/models/sclip.py', '../_base_/protocols/sclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
