_base_ = './maskclip_resnet.py'

model = dict(clip=dict(model='RN101-quickgelu', pretrained='openai'))
