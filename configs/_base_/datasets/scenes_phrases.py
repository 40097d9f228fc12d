"""Scenes whose classes are phrases such as 'red star': ten held-out ones and ten seen ones."""

_base_ = './scenes.py'
test_dataloader = dict(dataset=dict(type='ScenesPhrasesDataset', split='phrases'))
