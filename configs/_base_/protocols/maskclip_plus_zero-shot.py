# MaskCLIP+'s published trainings with labels of all but some classes. These are learned from CLIP
# for `guided` iterations and then from the student itself; class 0, where it is background, is
# learned.
_base_ = './maskclip_plus.py'

published = dict(
    # potted plant, sheep, sofa, train, tv monitor
    voc20=dict(unseen=[15, 16, 17, 18, 19], guided=2000, iterations=20000),
    voc21=dict(unseen=[16, 17, 18, 19, 20], guided=2000, iterations=20000, words='voc20'),
    coco_stuff164k=dict(
        unseen=[19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160],
        guided=8000,
        iterations=80000,
    ),
    # cow, motorbike, sofa, cat, boat, fence, bird, tv monitor, keyboard, airplane
    context60=dict(
        unseen=[20, 34, 49, 15, 8, 25, 7, 55, 32, 1],
        guided=4000,
        iterations=40000,
        words='context59',
    ),
)
row, on_choices = published[_base_.on], list(published)
settings = dict(
    pseudo_labels=dict(
        categories=row['unseen'],
        clip_guided=(1, row['guided'] - 1),
        self_training=(row['guided'], None),
    ),
)
if 'words' in row:
    settings['vocabulary'] = dict(dataset=row['words'], protocol='maskclip')
    settings['decode_head'] = dict(cls_bg=True)
if _base_.on == 'context60':  # with DeepLabv3+
    settings['decode_head']['decode_module'] = dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=2048,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    )
    optim_wrapper = dict(optimizer=dict(lr=0.004, weight_decay=0.0001))
train_dataloader = dict(dataset=dict(suppress_labels=row['unseen']))
max_iters = row['iterations']
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=max_iters, by_epoch=False)
]
del published, row
