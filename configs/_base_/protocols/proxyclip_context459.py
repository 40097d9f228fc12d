_base_ = '../datasets/context459.py'

vocabulary = dict(dataset='context459', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
