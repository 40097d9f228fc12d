_base_ = '../datasets/context60.py'

vocabulary = dict(
    dataset='context60',
    protocol='trident',
    rejection=dict(kind='class_zero', threshold=0.15),
)
settings = dict(refinement=dict(coarse_threshold=0.15))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 576), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
