# CLIP ViT-B/16 learns masked regions. 4 GPUs x 128 as in the released script; the paper says 1024
# in all.
_base_ = './clip_ft_vit-l14_openai_4xb32_5e_coco.py'

model = dict(clip=dict(model='ViT-B-16-quickgelu'))
train_dataloader = dict(batch_size=128)
