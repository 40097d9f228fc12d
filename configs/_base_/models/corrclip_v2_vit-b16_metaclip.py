_base_ = './corrclip_v2.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='metaclip_fullcc'))
