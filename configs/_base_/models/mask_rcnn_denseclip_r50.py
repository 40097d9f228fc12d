# DenseCLIP's Mask R-CNN on CLIP's RN50, as released. A config gives it the words of the data set,
# and the neck the width of its coarsest level: 2048 channels and one a class.
_base_ = ['./denseclip_fpn_r50.py', './mask_rcnn.py']
model = dict(
    _delete_=True,
    type='DenseCLIP_MaskRCNN',
    pretrained=_base_.model.pretrained,
    backbone={
        **_base_.model.backbone,
        'input_resolution': 1344,  # the longer side of (1333, 800), padded
        'position': 'crop',
    },
    text_encoder=_base_.model.text_encoder,
    context_decoder=_base_.model.context_decoder,
    context_length=_base_.model.context_length,
    text_dim=_base_.model.text_dim,
    score_concat_index=_base_.model.score_concat_index,
    # The released recipe gives the text encoder a learning rate of 0; its gradients still count in
    # the norm that all are clipped by.
    freeze_text_encoder=False,
    **_base_.mask_rcnn,
)
