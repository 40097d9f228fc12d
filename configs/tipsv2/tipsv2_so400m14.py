_base_ = ['../_base_/models/tipsv2.py', '../_base_/protocols/tipsv2.py']

model = dict(clip=dict(model='tipsv2-so400m14'), **_base_.settings)
