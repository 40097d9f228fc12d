_base_ = [
    '../_base_/models/naclip_vit-b16_openai.py',
    '../_base_/protocols/naclip_voc20.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, test_cfg=dict(mode=_base_.mode))
