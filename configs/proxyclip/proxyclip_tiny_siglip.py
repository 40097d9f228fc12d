# ProxyCLIP on the tiny SigLIP: what its pooling makes of values that the tiny DINO mixed.
_base_ = './proxyclip_tiny.py'

model = dict(clip=dict(model='tiny_siglip_scenes'))
