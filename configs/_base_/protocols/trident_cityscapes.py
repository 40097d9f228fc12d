_base_ = '../datasets/cityscapes.py'

vocabulary = dict(dataset='cityscapes', protocol='trident')
settings = dict(
    correlation=dict(cosine_factor=3.0, keep_negative_thresholds=False),
    sam_columns=2,
    refinement=dict(coarse_threshold=0.1),
)
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 688), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
