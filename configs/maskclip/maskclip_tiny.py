_base_ = ['../_base_/models/maskclip_tiny.py', '../_base_/protocols/tiny.py']

model = dict(vocabulary=_base_.words)
