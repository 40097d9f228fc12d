_base_ = '../datasets/context60.py'

vocabulary = dict(
    dataset='context60',
    protocol='sclip',
    rejection=dict(kind='class_zero', threshold=0.1),
)
logit_scale = 50
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
