_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/datasets/maskclip_plus_voc21.py',
    '../_base_/protocols/maskclip_voc21.py',
    '../_base_/schedules/maskclip_plus_20k.py',
    '../_base_/default_runtime.py',
]
# potted plant, sheep, sofa, train, tv monitor; class 0 is a learned background
unseen = [16, 17, 18, 19, 20]
model = dict(
    vocabulary=dict(dataset='voc20', protocol='maskclip'),
    pseudo_labels=dict(categories=unseen, clip_guided=(1, 1999), self_training=(2000, None)),
    decode_head=dict(cls_bg=True),
)
train_dataloader = dict(dataset=dict(suppress_labels=unseen))
