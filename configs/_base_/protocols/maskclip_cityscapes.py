_base_ = '../datasets/cityscapes.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(1024, 512), keep_ratio=True)))
