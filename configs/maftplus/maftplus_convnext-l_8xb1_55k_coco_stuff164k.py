# MAFT+'s collaborative tuning on COCO-Stuff, 8 GPUs x 1 image.
_base_ = [
    '../_base_/models/maftplus.py',
    '../_base_/datasets/maftplus_coco_stuff164k.py',
    '../_base_/schedules/maftplus_55k.py',
]

model = dict(
    clip=dict(model='convnext_large_d_320', pretrained='laion2b_s29b_b131k_ft_soup'),
    teacher=True,
    vocabulary=dict(dataset='coco_stuff164k', protocol='fcclip'),
)
