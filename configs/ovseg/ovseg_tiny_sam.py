# The tiny SAM's automatic masks in place of the MaskFormer's, named by the tiny CLIP that was
# adapted to masked regions. SAM tells two things of one class apart.
_base_ = ['./ovseg_tiny.py']

model = dict(
    backbone=None,
    proposals=dict(
        _delete_=True,
        type='RegionProposals',
        regions=dict(
            type='SAMRegions',
            sam=dict(model='tiny_sam_scenes'),
            # Objects are 44 pixels wide at least: 12 points a side find them all.
            generator=dict(points_per_side=12, pred_iou_thresh=0.7, stability_score_thresh=0.7),
        ),
    ),
    # SAM's masks have no score of their own; the regions' names compete among many words.
    test_cfg=dict(segments=dict(score_threshold=0.3)),
)
load_from = None
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(keep_original=True))  # for SAM
