# Mask prompts for CLIP ViT-B/16; after fine-tuning, see clip_mpt_vit-l14_openai_4xb32_5e_coco.py.
_base_ = './clip_mpt_vit-l14_openai_4xb32_5e_coco.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu'))
