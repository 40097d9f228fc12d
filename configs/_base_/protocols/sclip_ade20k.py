_base_ = '../datasets/ade20k.py'

vocabulary = dict(dataset='ade20k', protocol='sclip')
logit_scale = 40
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True)))
