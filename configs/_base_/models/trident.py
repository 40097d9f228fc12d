# Trident as released (arXiv 2411.09219). model.refinement=None leaves SAM's refinement out.
_base_ = './replaced_attention.py'

model = dict(
    type='Trident',
    companion=dict(type='DINOCompanion', model='dino_vitb16'),
    sam=dict(model='vit_b'),  # vit_l and vit_h go as well
    proxy=dict(beta=1.2, gamma=3.0),
    correlation=dict(cosine_factor=1.2, keep_negative_thresholds=True),
    refinement=dict(coarse_threshold=0.2, min_area=225, mask_scale=0.005, iou_threshold=0.8),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='splice', crop_size=(336, 336), stride=(224, 224), upsampling='direct'),
)
