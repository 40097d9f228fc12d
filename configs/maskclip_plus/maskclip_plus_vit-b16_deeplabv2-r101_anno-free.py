_base_ = ['../_base_/models/maskclip_plus_vit-b16.py', '../_base_/protocols/maskclip_plus.py']

model = _base_.settings
