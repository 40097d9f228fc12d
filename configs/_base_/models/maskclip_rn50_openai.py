_base_ = './maskclip_resnet.py'

model = dict(clip=dict(model='RN50-quickgelu', pretrained='openai'))
