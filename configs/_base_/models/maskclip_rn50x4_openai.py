_base_ = './maskclip_resnet.py'

model = dict(clip=dict(model='RN50x4-quickgelu', pretrained='openai'))
