# MaskCLIP published no number on this set; the resize follows its rule for the nearest one.
_base_ = '../datasets/coco_object.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 512), keep_ratio=True)))
