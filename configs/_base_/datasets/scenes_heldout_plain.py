"""Scenes of unseen pairs of colour and object, with the classes of val: 'star', 'heart'."""

_base_ = './scenes.py'
on = 'scenes_heldout_plain'
test_dataloader = dict(dataset=dict(split='heldout'))
support = dict(split='heldout', seed=1)
