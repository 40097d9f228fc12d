_base_ = ['../_base_/models/trident.py', '../_base_/protocols/trident.py']

model = dict(clip=dict(model='ViT-H-14', pretrained='laion2b_s32b_b79k'), **_base_.settings)
