# OVSeg with R101c and ViT-B/16 as released: the checkpoint brings CLIP's weights, too.
_base_ = './ovseg_maskformer_r101c.py'

model = dict(
    clip=dict(model='ViT-B-16-quickgelu', pretrained='random'),
    mask_prompts=3,
    regions=dict(threshold=0.5),
    ensemble=dict(weight=0.7),
    # "joined": a class with synonyms is one prompt, "a photo of a road, route."
    text=dict(templates='vild-14', combine='joined', logit_scale=100),
)
# Of the data set, or of any images.
resize = dict(type='AntialiasedResize', scale=(2048, 512))
