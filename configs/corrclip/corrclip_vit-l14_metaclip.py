_base_ = ['../_base_/models/corrclip.py', '../_base_/protocols/corrclip.py']

model = dict(clip=dict(model='ViT-L-14-quickgelu', pretrained='metaclip_fullcc'), **_base_.settings)
if _base_.region_maps:
    model['regions'] = dict(_delete_=True, **_base_.region_maps)
