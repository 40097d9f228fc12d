_base_ = '../datasets/voc20.py'

vocabulary = dict(dataset='voc20', protocol='trident')
settings = dict(
    correlation=dict(cosine_factor=0.0),
    refinement=dict(coarse_threshold=0.2),
    test_cfg=dict(stride=(112, 112)),
)
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 336), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
