# MAFT+ with CLIP's ConvNeXt-L for things and stuff, as released: text rows move in another form.
_base_ = ['../_base_/models/maftplus.py', '../_base_/protocols/maftplus_panoptic.py']

model = dict(
    clip=dict(model='convnext_large_d_320', pretrained='random'),
    transfer=dict(form='panoptic'),
    resize_masks_first=True,
    test_cfg=dict(segments=dict(score_threshold=0.2, overlap_threshold=0.7)),
    **_base_.settings,
)
