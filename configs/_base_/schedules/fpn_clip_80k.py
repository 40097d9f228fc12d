# The schedule of DenseCLIP without a text encoder.
_base_ = './denseclip_80k.py'
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.1), norm=dict(decay_mult=0.0))
    )
)
