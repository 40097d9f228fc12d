"""ADE20K for DenseCLIP with ViT-B: crops of 640 x 640 pixels, val with its shorter side at 640."""

_base_ = './denseclip_ade20k.py'

resize = dict(scale=(2048, 640), keep_ratio=True)
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline[2].scale = (2048, 640)
pipeline[3].crop_size = (640, 640)
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(resize=resize))
test_dataloader = dict(dataset=dict(resize=resize))
