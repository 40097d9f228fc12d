# MaskCLIP published no number on this set; the resize follows its rule for the nearest one.
_base_ = '../datasets/context459.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(520, 520), keep_ratio=True)))
