# The schedule of DenseCLIP's detectors without a text encoder.
_base_ = './detection_1x.py'
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.1)))
)
