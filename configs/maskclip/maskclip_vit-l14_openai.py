_base_ = ['../_base_/models/maskclip_vit.py', '../_base_/protocols/maskclip.py']

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'), **_base_.settings)
