_base_ = '../datasets/context59.py'

vocabulary = dict(dataset='context59', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
