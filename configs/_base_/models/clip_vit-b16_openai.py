_base_ = './clip.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'))
