_base_ = ['../_base_/models/clearclip.py', '../_base_/protocols/clearclip.py']

model = dict(clip=dict(model='ViT-L-14', pretrained='laion2b_s32b_b82k'), **_base_.settings)
