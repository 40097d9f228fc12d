# CorrCLIP on TIPSv2: values mixed within regions of SAM, one label a region. Nobody has published
# it.
_base_ = './tipsv2_l14.py'

model = dict(
    type='CorrCLIP',
    encoder=dict(
        _delete_=True,
        type='CorrCLIPEncoder',
        companion=dict(type='DINOCompanion', model='dino_vitb8', quantity='queries+keys'),
        companion_sees='windows',
        merge_distance=0.2,
        temperature=4.0,
        position_resize='antialias_bilinear',
        padding='stretch',
    ),
    regions=dict(
        type='SAMRegions',
        sam=dict(model='vit_h'),
        generator=dict(points_per_side=32, pred_iou_thresh=0.7, stability_score_thresh=0.7),
    ),
    text=dict(logit_scale=40),
    test_cfg=dict(average='scores'),
)
test_dataloader = dict(dataset=dict(keep_original=True))
