_base_ = [
    '../_base_/models/trident_vit-l14_openai.py',
    '../_base_/protocols/trident_ade847.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, **_base_.settings)
