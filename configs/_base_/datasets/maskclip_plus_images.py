"""A folder of images without labels, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_512x512.py'
train_dataloader = dict(
    dataset=dict(
        type='ImageFolderDataset',
        data_root='data/images',
    )
)
