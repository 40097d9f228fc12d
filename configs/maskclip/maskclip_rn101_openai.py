_base_ = ['../_base_/models/maskclip_resnet.py', '../_base_/protocols/maskclip.py']

model = dict(clip=dict(model='RN101-quickgelu', pretrained='openai'), **_base_.settings)
