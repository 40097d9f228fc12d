# 55000 iterations of 8 images (8 GPUs x 1), as released with ConvNeXt-L; CLIP's trunk learns ten
# times slower.
_base_ = './fcclip_368k.py'

optim_wrapper = dict(
    optimizer=dict(weight_decay=2e-5),
    paramwise_cfg=dict(custom_keys={'clip.visual.trunk': dict(lr_mult=0.1)}),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=55001)]
train_cfg = dict(max_iters=55000)
auto_scale_lr = dict(base_batch_size=8)
randomness = dict(seed=123)
