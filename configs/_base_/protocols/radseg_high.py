# RADSeg's published settings at its high resolution.
_base_ = './radseg.py'

resize = dict(scale=_base_.scales['high'])
settings = dict(test_cfg=dict(stride=(224, 224)))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
