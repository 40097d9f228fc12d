_base_ = ['../_base_/models/clearclip.py', '../_base_/protocols/clearclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
