# The schedule of the tiny detectors; without a context decoder there is no norm to name.
_base_ = './detection_tiny.py'
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.5)))
)
