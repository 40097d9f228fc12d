_base_ = ['../_base_/models/clip_dinoiser_tiny.py', '../_base_/protocols/tiny.py']

model = dict(vocabulary=_base_.words)
