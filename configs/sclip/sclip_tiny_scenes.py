_base_ = [
    '../_base_/models/sclip_tiny.py',
    '../_base_/protocols/scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary)
