# The release has this set's words and settings, its table has no number for it.
_base_ = '../datasets/ade847.py'

vocabulary = dict(dataset='ade847', protocol='trident')
settings = dict(refinement=dict(coarse_threshold=0.2))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 448), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
