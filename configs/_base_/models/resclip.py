# ResCLIP's residual attention (arXiv 2411.15851, section 3.2) on NACLIP's last block; no PAMR.
_base_ = './replaced_attention.py'

model = dict(
    encoder=dict(last_block=dict(preset='resclip'), padding='floor'),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112), normalize_scores=True),
)
