_base_ = '../datasets/coco_object.py'

vocabulary = dict(
    dataset='coco_object',
    protocol='proxyclip',
    rejection=dict(kind='class_zero', threshold=0.25),
)
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
