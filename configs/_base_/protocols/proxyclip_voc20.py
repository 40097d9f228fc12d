_base_ = '../datasets/voc20.py'

vocabulary = dict(dataset='voc20', protocol='proxyclip')
crop_size = (336, 336)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
