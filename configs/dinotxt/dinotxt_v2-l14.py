_base_ = ['../_base_/models/dinotxt.py', '../_base_/protocols/dinotxt.py']

model = dict(**_base_.settings)
