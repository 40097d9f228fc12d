_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_coco_stuff164k.py',
    '../_base_/protocols/maskclip_coco_stuff164k.py',
    '../_base_/schedules/maskclip_plus_8k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=dict(dataset='coco_stuff164k', protocol='maskclip'),
)
