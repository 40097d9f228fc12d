_base_ = '../datasets/voc20.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 512), keep_ratio=True)))
