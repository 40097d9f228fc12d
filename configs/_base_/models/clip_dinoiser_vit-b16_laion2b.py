# CLIP-DINOiser (arXiv 2312.12359) on its MaskCLIP, with the released weights of the two layers.
_base_ = './maskclip_dinoiser_vit-b16_laion2b.py'

model = dict(
    type='CLIPDINOiser',
    guide=dict(
        type='DINOiserGuide',
        in_channels=768,
        channels=256,
        gamma=0.2,
        weights='https://github.com/wysoczanska/clip_dinoiser/raw/main/checkpoints/last.pt',
    ),
)
