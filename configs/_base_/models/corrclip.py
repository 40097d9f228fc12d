# CorrCLIP as released (arXiv 2411.10086), regions by SAM; configs with the published region maps
# take these instead.
_base_ = './replaced_attention.py'

model = dict(
    type='CorrCLIP',
    encoder=dict(
        type='CorrCLIPEncoder',
        companion=dict(type='DINOCompanion', model='dino_vitb8', quantity='queries+keys'),
        companion_sees='windows',
        merge_distance=0.2,
        temperature=4.0,
        padding='centred',
        padding_multiple=56,
    ),
    # What version 2's release sets for SAM; version 1 was published with SAM 2's masks.
    regions=dict(
        type='SAMRegions',
        sam=dict(model='vit_h'),
        generator=dict(points_per_side=32, pred_iou_thresh=0.7, stability_score_thresh=0.7),
    ),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='slide', crop_size=(336, 336), stride=(112, 112)),
)
