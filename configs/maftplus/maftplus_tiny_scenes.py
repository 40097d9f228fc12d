# MAFT+'s tuning of the tiny ConvNeXt CLIP on Scenes.
_base_ = '../fcclip/fcclip_tiny_scenes.py'

model = dict(type='MAFTPlus', ensemble=None, transfer=dict(num_heads=4), teacher=True)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'clip.visual.trunk': dict(lr_mult=0.1)}))
