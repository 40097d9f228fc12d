_base_ = '../datasets/voc21.py'

vocabulary = dict(
    dataset='voc21',
    protocol='clearclip',
    rejection=dict(kind='class_zero', threshold=0.5),
)
crop_size = (448, 448)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
