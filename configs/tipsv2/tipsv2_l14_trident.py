# Trident on TIPSv2: DINO and SAM decide what belongs together. Nobody has published it.
_base_ = './tipsv2_l14.py'

model = dict(
    type='Trident',
    companion=dict(type='DINOCompanion', model='dino_vitb16'),
    sam=dict(model='vit_b'),
    proxy=dict(beta=1.2, gamma=3.0, residual=True, ffn=True),
    correlation=dict(cosine_factor=1.2, keep_negative_thresholds=True),
    refinement=dict(coarse_threshold=0.2, min_area=225, mask_scale=0.005, iou_threshold=0.8),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='splice', upsampling='direct', average='scores'),
)
test_dataloader = dict(dataset=dict(keep_original=True))
