_base_ = '../datasets/voc21.py'

vocabulary = dict(
    dataset='voc21',
    protocol='sclip',
    rejection=dict(kind='class_zero', threshold=0.1, min_area=0.1),
)
logit_scale = 65
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
