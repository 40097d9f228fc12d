_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='MobileCLIP2-B', pretrained='dfndr2b'), **_base_.settings)
