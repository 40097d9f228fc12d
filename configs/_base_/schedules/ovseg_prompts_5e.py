# Mask prompt tuning: few numbers, a large rate and no decay, otherwise as fine-tuning. 0.05 is the
# released script's rate (4 GPUs x 32); the paper says 0.02.
_base_ = './ovseg_clip_5e.py'

optim_wrapper = dict(
    optimizer=dict(lr=0.05, weight_decay=0.0), paramwise_cfg=dict(_delete_=True, custom_keys={})
)
