_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='EVA02-L-14', pretrained='merged2b_s4b_b131k'), **_base_.settings)
