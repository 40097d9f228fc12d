_base_ = './maskclip_resnet.py'

model = dict(clip=dict(model='RN50x16-quickgelu', pretrained='openai'))
