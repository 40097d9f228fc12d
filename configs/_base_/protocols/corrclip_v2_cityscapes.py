_base_ = '../datasets/cityscapes.py'

vocabulary = dict(dataset='cityscapes', protocol='corrclip_v2')
crop_size = (224, 224)
region_maps = 'data/instance_mask/city'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 784), keep_ratio=True), keep_original=True)
)
