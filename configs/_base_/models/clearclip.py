# ClearCLIP as released (arXiv 2407.12442): windows of 448 pixels, padded on all sides to the patch.
_base_ = './replaced_attention.py'

model = dict(
    encoder=dict(last_block='clearclip', padding='centred'),
    text=dict(logit_scale=50),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
