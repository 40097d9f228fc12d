_base_ = '../datasets/coco_stuff164k.py'

vocabulary = dict(dataset='coco_stuff164k', protocol='sclip')
logit_scale = 40
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
