_base_ = ['../_base_/models/radseg.py', '../_base_/protocols/radseg_low.py']

model = dict(**_base_.settings)
