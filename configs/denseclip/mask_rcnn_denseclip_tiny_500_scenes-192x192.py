# The words of Scenes' objects guide a Mask R-CNN on the tiny CLIP.
_base_ = [
    '../_base_/models/denseclip_fpn_tiny.py',
    '../_base_/models/mask_rcnn_tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/detection_tiny.py',
]
# The level of stride 8 has 128 channels and one a class.
_base_.mask_rcnn.neck.in_channels = [128, 128 + len(_base_.classes), 128, 128]
model = dict(
    _delete_=True,
    type='DenseCLIP_MaskRCNN',
    pretrained=_base_.model.pretrained,
    backbone=_base_.model.backbone,
    text_encoder=_base_.model.text_encoder,
    context_decoder=_base_.model.context_decoder,
    token_embed_dim=_base_.model.token_embed_dim,
    text_dim=_base_.model.text_dim,
    score_concat_index=_base_.model.score_concat_index,
    vocabulary=_base_.classes,
    **_base_.mask_rcnn,
)
