_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='ViT-L-14-CLIPA', pretrained='datacomp1b'), **_base_.settings)
