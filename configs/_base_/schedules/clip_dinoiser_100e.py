# CLIP-DINOiser's training: 100 rounds over 1000 images in batches of 16 (63 a round, the last of
# 8), AdamW with PyTorch's own weight decay, both learning rates divided by 10 after 5000 steps.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'bkg_decoder': dict(lr_mult=200.0)}),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[5000], gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
randomness = dict(seed=0)
