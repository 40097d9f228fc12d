# OVSeg's MaskFormer on COCO-Stuff, 8 GPUs x 4 images; CLIP's text tower gives the targets and stays
# as it is. Validation looks at what is trained, the proposals' own classes on COCO-Stuff. How the
# result is tested on other data sets stands in README.md.
_base_ = [
    '../_base_/models/ovseg_maskformer_swin-b.py',
    '../_base_/datasets/ovseg_coco_stuff164k.py',
    '../_base_/schedules/ovseg_120k.py',
]
model = dict(
    clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'),
    mask_prompts=0,
    ensemble=dict(enabled=False),
    vocabulary=dict(dataset='coco_stuff164k', protocol='ovseg'),
    text=dict(templates='vild-14', combine='joined', logit_scale=100),
)
