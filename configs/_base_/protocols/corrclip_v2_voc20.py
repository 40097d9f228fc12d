_base_ = '../datasets/voc20.py'

vocabulary = dict(dataset='voc20', protocol='corrclip_v2')
crop_size = (336, 336)
region_maps = 'data/instance_mask/voc'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True), keep_original=True)
)
