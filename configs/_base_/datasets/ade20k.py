"""ADE20K val, 150 classes."""

_base_ = './label_maps.py'
on = 'ade20k'
data_root = 'data/ade/ADEChallengeData2016'
test_dataloader = dict(
    dataset=dict(
        type='ADE20K150Dataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
    )
)
# For training.
training = dict(data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'))
