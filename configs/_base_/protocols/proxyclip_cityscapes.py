_base_ = '../datasets/cityscapes.py'

vocabulary = dict(dataset='cityscapes', protocol='proxyclip')
crop_size = (224, 224)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
