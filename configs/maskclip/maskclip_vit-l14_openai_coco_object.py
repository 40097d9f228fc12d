_base_ = [
    '../_base_/models/maskclip_vit-l14_openai.py',
    '../_base_/protocols/maskclip_coco_object.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='coco_object', protocol='clip_dinoiser'))
