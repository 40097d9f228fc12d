_base_ = '../datasets/voc21.py'

vocabulary = dict(
    dataset='voc21',
    protocol='trident',
    rejection=dict(kind='class_zero', threshold=0.2),
)
settings = dict(refinement=dict(coarse_threshold=0.2))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 448), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
