# FC-CLIP with CLIP's ConvNeXt-L as released: the checkpoint brings CLIP's weights, too.
_base_ = ['../_base_/models/fcclip.py', '../_base_/protocols/fcclip.py']

model = dict(clip=dict(model='convnext_large_d_320', pretrained='random'), **_base_.settings)
