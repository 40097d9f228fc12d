# CLIP ViT-L/14 learns masked regions: first half of OVSeg's adaptation. 4 GPUs x 32 as in the
# released script; the paper says 256 in all.
_base_ = [
    '../_base_/datasets/ovseg_pairs.py',
    '../_base_/schedules/ovseg_clip_5e.py',
]
model = dict(
    type='MaskAdaptation',
    train='image_tower',
    clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'),
)
