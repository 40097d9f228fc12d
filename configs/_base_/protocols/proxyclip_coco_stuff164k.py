_base_ = '../datasets/coco_stuff164k.py'

vocabulary = dict(dataset='coco_stuff164k', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
