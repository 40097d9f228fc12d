"""ADE20K train, 150 classes, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_512x512.py'
train_dataloader = dict(
    dataset=dict(
        type='ADE20K150Dataset',
        data_root='data/ade/ADEChallengeData2016',
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
    )
)
