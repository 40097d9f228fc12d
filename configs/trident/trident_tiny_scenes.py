_base_ = [
    '../_base_/models/trident_tiny.py',
    '../_base_/protocols/scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary)
test_dataloader = dict(dataset=dict(keep_original=True))  # for SAM
