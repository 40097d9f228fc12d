_base_ = '../datasets/context60.py'

vocabulary = dict(
    dataset='context60',
    protocol='clearclip',
    rejection=dict(kind='class_zero', threshold=0.15),
)
crop_size = (448, 448)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
