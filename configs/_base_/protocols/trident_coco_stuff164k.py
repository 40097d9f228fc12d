_base_ = '../datasets/coco_stuff164k.py'

vocabulary = dict(dataset='coco_stuff164k', protocol='trident')
settings = dict(refinement=dict(coarse_threshold=0.05))
test_dataloader = dict(
    dataset=dict(
        resize=dict(scale=(2048, 448), keep_ratio=True),
        keep_original=True,  # for SAM
    )
)
