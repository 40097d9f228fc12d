# 368750 iterations of 16 images (8 GPUs x 2), as released; with the runtime, whose hooks it sets.
_base_ = '../default_runtime.py'

# Embeddings of the decoder are not decayed, and norms are not.
embeddings = ('query_embed', 'query_feat', 'proposals.level_embed', 'non_object_embedding')
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={name: dict(decay_mult=0.0) for name in embeddings}
    ),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[327778, 355092], gamma=0.1, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=368750, val_interval=5000)
# Every checkpoint is kept: the published one is the best, not the last.
default_hooks = dict(checkpoint=dict(interval=5000, max_keep_ckpts=-1))
auto_scale_lr = dict(enable=False, base_batch_size=16)
