_base_ = '../datasets/voc21.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
