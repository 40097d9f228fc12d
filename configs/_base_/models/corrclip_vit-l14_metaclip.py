_base_ = './corrclip.py'

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='metaclip_fullcc'))
