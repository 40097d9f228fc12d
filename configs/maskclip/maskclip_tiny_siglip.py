# MaskCLIP's reading of the tiny SigLIP (docs/scenes.md).
_base_ = './maskclip_tiny.py'

model = dict(clip=dict(model='tiny_siglip_scenes'))
