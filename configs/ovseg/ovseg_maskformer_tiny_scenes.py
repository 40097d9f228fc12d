# A tiny MaskFormer learns eleven of Scenes' classes. Validation looks at its own classes on all.
_base_ = [
    '../_base_/models/ovseg_maskformer_tiny.py',
    '../_base_/datasets/ovseg_scenes.py',
    '../_base_/schedules/ovseg_tiny.py',
]
model = dict(mask_prompts=0, ensemble=dict(enabled=False), vocabulary=_base_.seen)
