# As released with R101c: a larger learning rate, a tenth of it in the backbone.
_base_ = './ovseg_120k.py'

optim_wrapper = dict(
    optimizer=dict(lr=2e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True, query_embed=dict(decay_mult=0.0), backbone=dict(lr_mult=0.1)
        )
    ),
)
