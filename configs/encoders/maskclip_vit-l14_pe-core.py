_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='PE-Core-L-14-336', pretrained='meta'), **_base_.settings)
