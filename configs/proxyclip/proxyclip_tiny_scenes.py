_base_ = [
    '../_base_/models/proxyclip_tiny.py',
    '../_base_/protocols/scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary)
