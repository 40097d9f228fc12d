_base_ = '../datasets/ade20k.py'

vocabulary = dict(dataset='ade20k', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
