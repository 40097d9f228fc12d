_base_ = '../datasets/coco_object.py'

vocabulary = dict(
    dataset='coco_object',
    protocol='trident',
    rejection=dict(kind='class_zero', threshold=0.25),
)
settings = dict(refinement=dict(coarse_threshold=0.25))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 448), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
