_base_ = [
    '../_base_/models/maskclip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/dinoiser_coco_object.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='coco_object', protocol='clip_dinoiser'))
