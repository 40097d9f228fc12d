_base_ = [
    '../_base_/models/denseclip_detector_r50.py',
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/detection_1x.py',
]
# Its coarsest level has 2048 channels and one a class.
_base_.mask_rcnn.neck.in_channels = [256, 512, 1024, 2048 + len(_base_.classes)]
model = dict(
    _delete_=True,
    type='DenseCLIP_MaskRCNN',
    vocabulary=_base_.classes,
    **_base_.denseclip_detector,
    **_base_.mask_rcnn,
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
