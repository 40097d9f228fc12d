"""Scenes whose objects all have a colour that training never saw them in; classes as in val."""

_base_ = './scenes.py'
test_dataloader = dict(dataset=dict(split='heldout'))
