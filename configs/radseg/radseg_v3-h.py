_base_ = ['../_base_/models/radseg.py', '../_base_/protocols/radseg.py']

model = dict(clip=dict(model='c-radio_v3-h'), **_base_.settings)
