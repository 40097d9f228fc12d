_base_ = '../datasets/context59.py'

vocabulary = dict(dataset='context59', protocol='trident')
settings = dict(refinement=dict(coarse_threshold=0.15))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 576), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
