_base_ = '../datasets/ade847.py'

vocabulary = dict(dataset='ade847', protocol='corrclip_v2')
crop_size = (336, 336)
region_maps = 'data/instance_mask/ade847'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True), keep_original=True)
)
