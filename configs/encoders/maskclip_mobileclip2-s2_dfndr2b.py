# A FastViT: no last block to replace, each place of its last map is projected by itself.
_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(
    clip=dict(model='MobileCLIP2-S2', pretrained='dfndr2b'),
    encoder=dict(_delete_=True),
    **_base_.settings,
)
