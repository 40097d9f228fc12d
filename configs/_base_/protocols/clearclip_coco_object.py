_base_ = '../datasets/coco_object.py'

vocabulary = dict(
    dataset='coco_object',
    protocol='clearclip',
    rejection=dict(kind='class_zero', threshold=0.4),
)
crop_size = (448, 448)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
