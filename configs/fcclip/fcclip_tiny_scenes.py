# A tiny FC-CLIP learns eleven of Scenes' classes, things told apart, on the tiny ConvNeXt CLIP that
# ships; a CLIP of one's own goes in model.clip.pretrained.
_base_ = [
    '../_base_/models/fcclip_tiny.py',
    '../_base_/datasets/fcclip_scenes.py',
    '../_base_/schedules/fcclip_tiny.py',
]

model = dict(ensemble=dict(weight=0.4, unseen_weight=1.0, seen=_base_.seen), vocabulary=_base_.seen)
