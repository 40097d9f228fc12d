_base_ = ['../_base_/models/corrclip_v2.py', '../_base_/protocols/corrclip_v2.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='metaclip_fullcc'), **_base_.settings)
if _base_.region_maps:
    model['regions'] = dict(_delete_=True, **_base_.region_maps)
