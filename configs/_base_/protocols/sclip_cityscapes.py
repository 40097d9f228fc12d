_base_ = '../datasets/cityscapes.py'

vocabulary = dict(dataset='cityscapes', protocol='sclip')
logit_scale = 40
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 560), keep_ratio=True)))
