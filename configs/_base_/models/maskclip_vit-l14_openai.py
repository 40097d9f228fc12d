_base_ = './maskclip_vit.py'

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'))
