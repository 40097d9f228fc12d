_base_ = '../datasets/coco_object.py'

vocabulary = dict(
    dataset='coco_object',
    protocol='sclip',
    rejection=dict(kind='class_zero', threshold=0.1),
)
mode = 'slide'
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
