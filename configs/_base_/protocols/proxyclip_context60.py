_base_ = '../datasets/context60.py'

vocabulary = dict(
    dataset='context60',
    protocol='proxyclip',
    rejection=dict(kind='class_zero', threshold=0.15),
)
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
