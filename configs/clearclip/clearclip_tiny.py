_base_ = ['../_base_/models/clearclip.py', '../_base_/protocols/tiny.py']

model = _base_.settings
