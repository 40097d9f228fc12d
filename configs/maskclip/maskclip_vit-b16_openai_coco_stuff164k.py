_base_ = [
    '../_base_/models/maskclip_vit-b16_openai.py',
    '../_base_/protocols/maskclip_coco_stuff164k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='coco_stuff164k', protocol='maskclip'))
