"""Scenes of pairs of colour and object that training never saw; classes are phrases: 'red star'."""

_base_ = './scenes.py'
test_dataloader = dict(dataset=dict(type='ScenesHeldoutDataset', split='heldout'))
