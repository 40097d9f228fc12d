_base_ = '../datasets/coco_stuff164k.py'

vocabulary = dict(dataset='coco_stuff164k', protocol='clearclip')
crop_size = (448, 448)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
