# OVSeg with R101c and ViT-B/16 as released: the checkpoint brings CLIP's weights, too.
_base_ = ['../_base_/models/ovseg_maskformer_r101c.py', '../_base_/protocols/ovseg.py']

model = dict(
    clip=dict(model='ViT-B-16-quickgelu', pretrained='random'),
    mask_prompts=3,
    regions=dict(threshold=0.5),
    # "joined": a class with synonyms is one prompt, "a photo of a road, route."
    text=dict(templates='vild-14', combine='joined', logit_scale=100),
    **_base_.settings,
)
resize = dict(type='AntialiasedResize', scale=(2048, 512))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
