# A tiny FC-CLIP learns eleven of Scenes' classes, things told apart. Name a trained CLIP of its
# kind in model.clip.pretrained; without one its maps are random, and only masks are learned.
_base_ = [
    '../_base_/models/fcclip_tiny.py',
    '../_base_/datasets/fcclip_scenes.py',
    '../_base_/schedules/fcclip_tiny.py',
]

model = dict(ensemble=dict(weight=0.4, unseen_weight=0.8, seen=_base_.seen), vocabulary=_base_.seen)
