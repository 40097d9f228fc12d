"""First round of the embedded tiny SAM: a small frame, where most pictures are seen."""

_base_ = '../_base_/schedules/tiny_parts.py'

batch_size = 4
iterations = 4500
warm_up = 200

model = dict(
    type='PromptableMasks',
    sam=dict(
        image_size=128,
        patch_size=8,
        encoder_embed_dim=128,
        encoder_depth=6,
        encoder_num_heads=4,
        mlp_ratio=4.0,
        global_attn_indexes=[2, 5],
        window_size=8,
        prompt_embed_dim=64,
        mask_in_chans=16,
        decoder_num_heads=4,
        decoder_mlp_dim=256,
        iou_head_hidden_dim=64,
    ),
    rounds=2,
    first=(0.35, 0.25, 0.4),  # point, box, coarse
    bfloat16=True,
)

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        type='SceneMasksDataset',
        num_scenes=iterations * batch_size,
        size=128,
        masks=4,
        span=110,
    ),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(
    optimizer=dict(lr=8e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=warm_up,
        end=iterations,
        T_max=iterations - warm_up,
        eta_min=2e-4,  # the second round goes on from here
    ),
]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=250))
