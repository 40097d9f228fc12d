# DeepLabv2 on ResNet-101; on Context-60 with the head of DeepLabv3+, as published.
_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/protocols/maskclip_plus_zero-shot.py',
]

model = _base_.settings
