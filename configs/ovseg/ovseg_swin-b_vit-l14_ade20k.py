_base_ = [
    '../_base_/models/ovseg_swin-b_vit-l14.py',
    '../_base_/protocols/ovseg_ade20k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, ensemble=_base_.ensemble)
test_dataloader = dict(dataset=dict(resize=_base_.resize))
