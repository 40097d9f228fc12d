# DenseCLIP's Mask R-CNN on CLIP's RN50, as released. A config gives it the words of the data set,
# and the neck the width of its coarsest level: 2048 channels and one a class.
_base_ = ['./denseclip_detector_r50.py', './mask_rcnn.py']
model = dict(
    _delete_=True, type='DenseCLIP_MaskRCNN', **_base_.denseclip_detector, **_base_.mask_rcnn
)
