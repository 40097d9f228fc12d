_base_ = [
    '../_base_/models/clip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/dinoiser_ade847.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='ade847', protocol='ovseg'))
