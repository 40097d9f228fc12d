_base_ = './trident.py'

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'))
