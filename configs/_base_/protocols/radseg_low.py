# RADSeg's published settings at its low resolution.
_base_ = './radseg.py'

resize = dict(scale=_base_.scales['low'])
settings = dict(test_cfg=dict(crop_size=(224, 224), stride=(112, 112)))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
