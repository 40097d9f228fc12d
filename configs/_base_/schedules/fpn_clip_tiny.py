# The schedule of the tiny DenseCLIP; without a context decoder there is no norm to name.
_base_ = './denseclip_tiny.py'
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.5)))
)
