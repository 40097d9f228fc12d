# FC-CLIP with CLIP's RN50x16 as released: the checkpoint brings CLIP's weights, too.
_base_ = ['../_base_/models/fcclip.py', '../_base_/protocols/fcclip.py']

model = dict(clip=dict(model='RN50x16-quickgelu', pretrained='random'), **_base_.settings)
