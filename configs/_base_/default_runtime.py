# What every config shares. Test, validation and training parts are with the data set and the
# schedule, because a Runner wants all of a kind or none.
default_scope = 'ovseg'
# Read with the config, before anything imports mmcv's ops (see ovseg/compat).
custom_imports = dict(imports=['ovseg', 'ovseg.registry'], allow_failed_imports=False)

env_cfg = dict(
    cudnn_benchmark=False,  # images of many sizes would measure kernels again and again
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # gloo where there is no GPU
)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    finite=dict(type='FiniteStateHook', max_bad_steps=3),
    label_use=dict(type='LabelUseHook', max_maps=100),
)
custom_hooks = [dict(type='VocabularyCheckHook'), dict(type='RandomStateHook')]

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'

load_from = None
resume = False
