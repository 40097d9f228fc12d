_base_ = [
    '../_base_/models/trident_vit-b16_openai.py',
    '../_base_/protocols/trident_context60.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, **_base_.settings)
