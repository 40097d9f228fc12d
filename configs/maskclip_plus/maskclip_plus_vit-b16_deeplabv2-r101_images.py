# A folder of images of your own, without labels: give its path and the words.
#   --cfg-options train_dataloader.dataset.data_root=photos "model.vocabulary='cat; sofa; wall'"
_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_images.py',
    '../_base_/schedules/maskclip_plus_300.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=None)
inference = dict(scale=(2048, 512), keep_ratio=True)
