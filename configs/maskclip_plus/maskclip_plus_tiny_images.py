# A folder of drawings like Scenes: a config of yours sets words and folders
# (docs/label_my_folder.md).
_base_ = './maskclip_plus_tiny_scenes.py'

model = dict(vocabulary=None)
resize = _base_.resize
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageFolderDataset',
        data_root='data/images',
        resize=resize,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='SuppressLabels'),
            dict(type='RandomCrop', crop_size=(96, 96)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    )
)
# A labelled part, if there is one: label maps hold the number of the word, 255 for none.
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='BaseSegDataset',
        data_root='data/labelled',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', **resize),
            dict(type='LoadSegLabels'),
            dict(type='PackSegInputs'),
        ],
    )
)
