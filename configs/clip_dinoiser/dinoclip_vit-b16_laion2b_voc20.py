_base_ = [
    '../_base_/models/dinoclip_vit-b16_laion2b.py',
    '../_base_/protocols/dinoiser_voc20.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='voc20', protocol='clip_dinoiser'))
