_base_ = '../datasets/voc21.py'

vocabulary = dict(
    dataset='voc21',
    protocol='corrclip_v2',
    rejection=dict(kind='class_zero', threshold=0.2),
)
crop_size = (336, 336)
region_maps = 'data/instance_mask/voc'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True), keep_original=True)
)
