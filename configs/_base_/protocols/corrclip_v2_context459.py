_base_ = '../datasets/context459.py'

vocabulary = dict(dataset='context459', protocol='corrclip_v2')
crop_size = (336, 336)
region_maps = 'data/instance_mask/context'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True), keep_original=True)
)
