# Regions by SAM 2 on every data set, not from the published region maps.
_base_ = ['../_base_/models/corrclip_sam2.py', '../_base_/protocols/corrclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='metaclip_fullcc'), **_base_.settings)
