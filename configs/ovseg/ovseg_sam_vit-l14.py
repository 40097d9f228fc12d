# SAM's automatic masks instead of MaskFormer's, named by plain CLIP. Nothing is trained: weights
# are fetched at first use.
_base_ = ['../_base_/datasets/{{$OVSEG_ON:images}}.py', '../_base_/default_runtime.py']
on_choices = ['images', 'ade20k_panoptic', 'coco_panoptic', 'coco_things']

model = dict(
    type='OVSeg',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'),
    proposals=dict(
        type='RegionProposals', regions=dict(type='SAMRegions', sam=dict(model='vit_h'))
    ),
    mask_prompts=0,
    ensemble=dict(weight=0.0),  # SAM's masks have no classes of their own
    text=dict(templates='vild-14', combine='joined', logit_scale=100),
)
resize = dict(type='AntialiasedResize', scale=(2560, 640))
if _base_.on == 'ade20k_panoptic':
    model['vocabulary'] = dict(dataset='ade20k', protocol='ovseg')
elif _base_.on == 'coco_panoptic':
    model['vocabulary'] = dict(dataset='coco_panoptic', protocol='fcclip')
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize, keep_original=True))  # for SAM
