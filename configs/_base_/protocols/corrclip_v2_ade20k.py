_base_ = '../datasets/ade20k.py'

vocabulary = dict(dataset='ade20k', protocol='corrclip_v2')
crop_size = (336, 336)
region_maps = 'data/instance_mask/ade'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True), keep_original=True)
)
