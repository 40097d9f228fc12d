_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='ViT-B-16-SigLIP2-512', pretrained='webli'), **_base_.settings)
