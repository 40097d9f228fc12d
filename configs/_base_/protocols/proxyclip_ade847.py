_base_ = '../datasets/ade847.py'

vocabulary = dict(dataset='ade847', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
