_base_ = '../datasets/coco_object.py'

test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
