# The tiny CLIP that ships with ovseg, frozen, and something small that is learned on its features.
_base_ = './maskclip_tiny.py'

model = dict(type='LightlyTrained')
