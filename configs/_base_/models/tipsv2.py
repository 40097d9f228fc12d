# TIPSv2 as its zero-shot notebook reads it (arXiv 2604.12012): values of the last block with
# residual and MLP, windows whose probabilities are averaged, a softmax of cosines as they are.
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(type='TIPSv2', model='tipsv2-l14'),
    encoder=dict(last_block='maskclip', position_resize='antialias_bilinear', padding='stretch'),
    text=dict(templates='tcl-9', logit_scale=1),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(336, 336), average='probabilities'),
)
