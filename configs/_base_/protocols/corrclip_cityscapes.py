_base_ = '../datasets/cityscapes.py'

vocabulary = dict(dataset='cityscapes', protocol='corrclip_v1')
crop_size = (224, 224)
region_maps = 'data/region_masks/city'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True), keep_original=True)
)
