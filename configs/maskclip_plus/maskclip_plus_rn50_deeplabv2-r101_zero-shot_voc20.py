_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/datasets/maskclip_plus_voc20.py',
    '../_base_/protocols/maskclip_voc20.py',
    '../_base_/schedules/maskclip_plus_20k.py',
    '../_base_/default_runtime.py',
]
# potted plant, sheep, sofa, train, tv monitor
unseen = [15, 16, 17, 18, 19]
model = dict(
    vocabulary=dict(dataset='voc20', protocol='maskclip'),
    pseudo_labels=dict(categories=unseen, clip_guided=(1, 1999), self_training=(2000, None)),
)
train_dataloader = dict(dataset=dict(suppress_labels=unseen))
