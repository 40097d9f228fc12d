# OVSeg on Scenes: the tiny MaskFormer, and the tiny CLIP adapted to masked regions.
_base_ = './ovseg_maskformer_tiny.py'

model = dict(
    adapted='ovseg://ovseg_clip_tiny_scenes',
    mask_prompts=2,
    regions=dict(threshold=0.4),
    ensemble=dict(weight=0.0),  # the MaskFormer's own classes are those of its training
)
