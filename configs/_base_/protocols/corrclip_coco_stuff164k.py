_base_ = '../datasets/coco_stuff164k.py'

vocabulary = dict(dataset='coco_stuff164k', protocol='corrclip_v1')
crop_size = (336, 336)
region_maps = 'data/region_masks/coco'
test_dataloader = dict(
    dataset=dict(resize=dict(scale=(2048, 336), keep_ratio=True), keep_original=True)
)
