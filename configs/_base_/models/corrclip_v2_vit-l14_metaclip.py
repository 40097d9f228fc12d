_base_ = './corrclip_v2.py'

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='metaclip_fullcc'))
