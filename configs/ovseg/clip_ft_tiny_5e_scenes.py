# The tiny CLIP learns masked regions of Scenes, within minutes on a CPU. How its pairs are made
# stands in docs/mask_adaptation.md.
_base_ = [
    '../_base_/datasets/ovseg_pairs.py',
    '../_base_/schedules/ovseg_clip_5e.py',
]
model = dict(
    type='MaskAdaptation',
    train='image_tower',
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    template='a(n) {}',  # as in the captions that it was trained with
)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(dataset=dict(pairs='data/ovseg_pairs/scenes/pairs.csv', size=32)),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [dict(**_base_.param_scheduler[0])]
param_scheduler[0].update(warmup=10)
default_hooks = dict(logger=dict(interval=10))
