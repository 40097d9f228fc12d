# What DenseCLIP's detectors on CLIP's RN50 share, as released: backbone, text side and where the
# score map goes. They add a detector of mmdet.
_base_ = './denseclip_fpn_r50.py'
denseclip_detector = dict(
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
)
