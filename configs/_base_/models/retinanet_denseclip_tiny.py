# DenseCLIP's RetinaNet on the tiny CLIP that ships with ovseg. A config gives it the words of the
# data set, and the neck the width of the level of stride 8: 128 channels and one a class.
_base_ = ['./denseclip_fpn_tiny.py', './retinanet_tiny.py']
model = dict(
    _delete_=True,
    type='DenseCLIP_RetinaNet',
    pretrained=_base_.model.pretrained,
    backbone=_base_.model.backbone,
    text_encoder=_base_.model.text_encoder,
    context_decoder=_base_.model.context_decoder,
    token_embed_dim=_base_.model.token_embed_dim,
    text_dim=_base_.model.text_dim,
    score_concat_index=_base_.model.score_concat_index,
    **_base_.retinanet,
)
