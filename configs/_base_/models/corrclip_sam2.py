# CorrCLIP with regions by SAM 2.1, with the settings of the published SAM 2 rows.
_base_ = './corrclip.py'

model = dict(
    regions=dict(
        _delete_=True,
        type='SAMRegions',
        # Published with the first weights of SAM 2 and without its rule for unstable masks.
        sam=dict(model='facebook/sam2.1-hiera-large', dynamic_multimask_via_stability=False),
        generator=dict(
            points_per_side=32,  # or 8, for rows of their own
            pred_iou_thresh=0.4,
            stability_score_thresh=0.4,
            multimask_output=False,
        ),
    ),
)
