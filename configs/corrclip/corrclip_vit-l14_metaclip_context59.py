_base_ = [
    '../_base_/models/corrclip_vit-l14_metaclip.py',
    '../_base_/protocols/corrclip_context59.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=_base_.vocabulary,
    test_cfg=dict(crop_size=_base_.crop_size),
    regions=dict(_delete_=True, type='RegionFolder', folder=_base_.region_maps),
)
