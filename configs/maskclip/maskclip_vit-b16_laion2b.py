# MaskCLIP as CLIP-DINOiser runs it, on its settings.
_base_ = [
    '../_base_/models/maskclip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/clip_dinoiser.py',
]

model = dict(_base_.settings)
if _base_.on == 'context459':
    model['vocabulary'] = dict(dataset='context459', protocol='corrclip_v2')
