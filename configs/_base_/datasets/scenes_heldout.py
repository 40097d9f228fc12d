"""Scenes of pairs of colour and object that training never saw; classes are phrases: 'red star'."""

_base_ = './scenes.py'
on = 'scenes_heldout'
words = [
    *_base_.words[:7],
    *['red star', 'blue heart', 'green ball', 'purple donut', 'orange flower'],
    *['yellow fish', 'pink mushroom', 'black kite', 'red leaf', 'blue target'],
]
test_dataloader = dict(dataset=dict(type='ScenesHeldoutDataset', split='heldout'))
# Other scenes of the same pairs, which the training of tiny models never showed.
support = dict(split='heldout', seed=1)
