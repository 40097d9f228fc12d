_base_ = ['../_base_/models/corrclip.py', '../_base_/protocols/corrclip.py']

model = dict(clip=dict(model='ViT-H-14', pretrained='laion2b_s32b_b79k'), **_base_.settings)
if _base_.region_maps:
    model['regions'] = dict(_delete_=True, **_base_.region_maps)
