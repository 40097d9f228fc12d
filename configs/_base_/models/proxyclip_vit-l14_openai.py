_base_ = './proxyclip.py'

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'))
