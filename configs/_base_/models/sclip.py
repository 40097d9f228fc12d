# SCLIP as released (arXiv 2312.01597): windows of 224 pixels, partial patches are left out. The
# temperature differs between data sets (configs/_base_/protocols).
_base_ = './replaced_attention.py'

model = dict(
    encoder=dict(last_block='sclip', padding='floor'),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)
