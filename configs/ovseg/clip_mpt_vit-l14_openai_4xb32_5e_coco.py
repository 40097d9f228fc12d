# Mask prompts for CLIP ViT-L/14 alone. After fine-tuning, the published order:
# --cfg-options model.fine_tuned=work_dirs/clip_ft_vit-l14_openai_4xb32_5e_coco/epoch_5.pth
_base_ = [
    '../_base_/datasets/ovseg_pairs.py',
    '../_base_/schedules/ovseg_prompts_5e.py',
]
model = dict(
    type='MaskAdaptation',
    train='mask_prompts',
    clip=dict(model='ViT-L-14-quickgelu', pretrained='openai'),
    fine_tuned=None,
    prompt_depth=3,
)
train_dataloader = dict(dataset=dict(dataset=dict(mask_from='file')))
