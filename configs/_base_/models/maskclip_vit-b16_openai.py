_base_ = './maskclip_vit.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'))
