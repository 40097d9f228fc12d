# Trident on the tiny SigLIP, the tiny DINO and the tiny SAM.
_base_ = './trident_tiny.py'

model = dict(clip=dict(model='tiny_siglip_scenes'))
