# The teacher-only model of CLIP-DINOiser: MaskCLIP pooled by true DINO correlations.
_base_ = './maskclip_dinoiser_vit-b16_laion2b.py'

model = dict(
    guide=dict(
        type='DINOTeacher',
        dino=dict(model='dino_vitb16'),
        found=dict(dino=dict(model='dino_vits8_300ep')),
        quantity='keys',
        gamma=0.2,
    ),
)
