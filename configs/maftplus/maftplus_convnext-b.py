# MAFT+ with CLIP's ConvNeXt-B as released: the checkpoint brings CLIP's weights, too.
_base_ = ['../_base_/models/maftplus.py', '../_base_/protocols/maftplus.py']

model = dict(clip=dict(model='convnext_base_w_320', pretrained='random'), **_base_.settings)
