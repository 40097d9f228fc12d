_base_ = './trident.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'))
