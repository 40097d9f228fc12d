_base_ = [
    '../_base_/models/trident_vit-h14_laion2b.py',
    '../_base_/protocols/trident_context59.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, **_base_.settings)
