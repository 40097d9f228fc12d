_base_ = './corrclip.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='metaclip_fullcc'))
