_base_ = ['../_base_/models/clearclip.py', '../_base_/protocols/clearclip.py']

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'), **_base_.settings)
