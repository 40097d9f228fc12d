_base_ = ['../_base_/models/clearclip.py', '../_base_/protocols/clearclip.py']

model = dict(clip=dict(model='ViT-B-16', pretrained='laion2b_s34b_b88k'), **_base_.settings)
