# OVSeg with Swin-B and ViT-L/14 as released: the checkpoint brings CLIP's weights, too.
_base_ = ['../_base_/models/ovseg_maskformer_swin-b.py', '../_base_/protocols/ovseg.py']

model = dict(
    clip=dict(model='ViT-L-14-quickgelu', pretrained='random'),
    mask_prompts=3,
    regions=dict(threshold=0.4),
    # "joined": a class with synonyms is one prompt, "a photo of a road, route."
    text=dict(templates='vild-14', combine='joined', logit_scale=100),
    **_base_.settings,
)
resize = dict(type='AntialiasedResize', scale=(2560, 640))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
