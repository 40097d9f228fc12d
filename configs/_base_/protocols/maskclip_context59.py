_base_ = '../datasets/context59.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(520, 520), keep_ratio=True)))
