# CLIP-DINOiser on the tiny CLIP, taught by the tiny DINO and the tiny FOUND
# (configs/clip_dinoiser/README.md, which compares thresholds and windows).
_base_ = './maskclip_tiny.py'

model = dict(
    type='CLIPDINOiser',
    encoder=dict(mlp_input_layer=-2),
    guide=dict(
        type='DINOiserGuide',
        in_channels=128,
        channels=64,
        # Cosines of this small world are high, the teacher's too: 0.2 would pool everything.
        gamma=0.7,
        weights='embedded:clip_dinoiser_tiny_scenes',
    ),
    # Features of windows are joined on cells of 4 pixels, and pooled over the whole image.
    test_cfg=dict(mode='splice', stride=(4, 4), window_batch=512),
)
