# Mask prompts for the tiny CLIP on Scenes; pairs as for clip_ft_tiny_5e_scenes.py. After it:
# --cfg-options model.fine_tuned=work_dirs/clip_ft_tiny_5e_scenes/epoch_5.pth
_base_ = [
    './clip_ft_tiny_5e_scenes.py',
]
model = dict(train='mask_prompts', fine_tuned=None, prompt_depth=2)
train_dataloader = dict(dataset=dict(dataset=dict(mask_from='file')))
optim_wrapper = dict(
    optimizer=dict(lr=0.02, weight_decay=0.0), paramwise_cfg=dict(_delete_=True, custom_keys={})
)
