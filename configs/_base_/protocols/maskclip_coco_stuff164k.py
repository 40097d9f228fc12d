_base_ = '../datasets/coco_stuff164k.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 512), keep_ratio=True)))
