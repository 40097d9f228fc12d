_base_ = '../datasets/ade20k.py'

vocabulary = dict(dataset='ade20k', protocol='trident')
settings = dict(
    correlation=dict(keep_negative_thresholds=False),
    refinement=dict(coarse_threshold=0.05),
)
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 576), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
