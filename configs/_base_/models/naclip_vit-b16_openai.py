_base_ = './naclip.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'))
