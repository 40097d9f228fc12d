_base_ = '../datasets/ade20k.py'

vocabulary = dict(dataset='ade20k', protocol='corrclip_v1')
crop_size = (336, 336)
region_maps = 'data/region_masks/ade'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True), keep_original=True)
)
