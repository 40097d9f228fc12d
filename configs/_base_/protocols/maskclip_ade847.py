# MaskCLIP published no number on this set; the resize follows its rule for the nearest one.
_base_ = '../datasets/ade847.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 512), keep_ratio=True)))
