_base_ = [
    '../_base_/models/maskclip_plus_rn50.py',
    '../_base_/datasets/maskclip_plus_context60.py',
    '../_base_/protocols/maskclip_context60.py',
    '../_base_/schedules/maskclip_plus_40k.py',
    '../_base_/default_runtime.py',
]
# cow, motorbike, sofa, cat, boat, fence, bird, tv monitor, keyboard, airplane;
# class 0 is a learned background
unseen = [20, 34, 49, 15, 8, 25, 7, 55, 32, 1]
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    vocabulary=dict(dataset='context59', protocol='maskclip'),
    pseudo_labels=dict(categories=unseen, clip_guided=(1, 3999), self_training=(4000, None)),
    decode_head=dict(
        cls_bg=True,
        decode_module=dict(
            _delete_=True,
            type='DepthwiseSeparableASPPHead',
            in_channels=2048,
            dilations=(1, 12, 24, 36),
            c1_in_channels=256,
            c1_channels=48,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
        ),
    ),
)
train_dataloader = dict(dataset=dict(suppress_labels=unseen))
optim_wrapper = dict(optimizer=dict(lr=0.004, weight_decay=0.0001))
