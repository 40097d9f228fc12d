_base_ = ['../_base_/models/proxyclip.py', '../_base_/protocols/proxyclip.py']

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'), **_base_.settings)
