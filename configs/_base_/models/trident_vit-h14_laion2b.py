_base_ = './trident.py'

model = dict(clip=dict(model='ViT-H-14', pretrained='laion2b_s32b_b79k'))
