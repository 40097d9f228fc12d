_base_ = [
    '../_base_/models/clip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/dinoiser_cityscapes.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='cityscapes', protocol='clip_dinoiser'))
