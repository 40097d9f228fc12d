"""Scenes whose classes are phrases such as 'red star': ten held-out ones and ten seen ones."""

_base_ = './scenes_heldout.py'
on = 'scenes_phrases'
words = [
    *_base_.words,
    *['blue star', 'red heart', 'purple ball', 'pink donut', 'yellow flower'],
    *['orange fish', 'red mushroom', 'green kite', 'green leaf', 'black target'],
]
test_dataloader = dict(dataset=dict(type='ScenesPhrasesDataset', split='phrases'))
support = dict(split='phrases', seed=1)
