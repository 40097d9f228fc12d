# FC-CLIP's training on COCO's things and stuff, 8 GPUs x 2 images; CLIP is frozen. Validation looks
# at the ensemble on COCO; how the result is tested on other data sets stands in README.md.
_base_ = [
    '../_base_/models/fcclip.py',
    '../_base_/datasets/fcclip_coco_panoptic.py',
    '../_base_/schedules/fcclip_368k.py',
]

words = dict(dataset='coco_panoptic', protocol='fcclip')
model = dict(
    clip=dict(model='convnext_large_d_320', pretrained='laion2b_s29b_b131k_ft_soup'),
    ensemble=dict(weight=0.4, unseen_weight=0.8, seen=words),
    vocabulary=words,
)
