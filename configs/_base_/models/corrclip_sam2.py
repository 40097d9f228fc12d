# CorrCLIP with regions by SAM 2, as the published rows were made.
_base_ = './corrclip.py'

model = dict(
    regions=dict(
        _delete_=True,
        type='SAMRegions',
        # The first weights (facebook/sam2.1-hiera-large are the later ones), without the rule for
        # unstable masks, as in the release.
        sam=dict(model='sam2_hiera_large', dynamic_multimask_via_stability=False),
        generator=dict(
            points_per_side=32,  # or 8, for rows of their own
            pred_iou_thresh=0.4,
            stability_score_thresh=0.4,
            multimask_output=False,
        ),
    ),
)
