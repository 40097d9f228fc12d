_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/datasets/maskclip_plus_coco_stuff164k.py',
    '../_base_/protocols/maskclip_coco_stuff164k.py',
    '../_base_/schedules/maskclip_plus_80k.py',
    '../_base_/default_runtime.py',
]
unseen = [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160]
model = dict(
    vocabulary=dict(dataset='coco_stuff164k', protocol='maskclip'),
    pseudo_labels=dict(categories=unseen, clip_guided=(1, 7999), self_training=(8000, None)),
)
train_dataloader = dict(dataset=dict(suppress_labels=unseen))
