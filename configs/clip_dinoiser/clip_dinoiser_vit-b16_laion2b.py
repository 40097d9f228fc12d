_base_ = [
    '../_base_/models/clip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/clip_dinoiser.py',
]

model = dict(**_base_.settings, **_base_.learned_background)
