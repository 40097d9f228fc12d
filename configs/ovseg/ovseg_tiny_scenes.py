# The weights that ship with ovseg; six of the classes are new to its MaskFormer.
_base_ = [
    '../_base_/models/ovseg_tiny.py',
    '../_base_/datasets/ovseg_scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary)
load_from = 'ovseg://ovseg_tiny_scenes'
test_evaluator = [dict(type='OVIoUMetric', groups=dict(seen=_base_.seen, unseen=_base_.unseen))]
