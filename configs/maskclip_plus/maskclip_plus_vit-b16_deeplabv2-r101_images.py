# A folder of photographs, as released for web images: a config of yours sets words and folders
# (docs/label_my_folder.md).
_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_images.py',
    '../_base_/schedules/maskclip_plus_300.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=None)
resize = dict(scale=(2048, 512), keep_ratio=True)
# A labelled part, if there is one: label maps hold the number of the word, 255 for none.
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root='data/labelled',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', **resize),
            dict(type='LoadSegLabels'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(type='OVIoUMetric')
test_cfg = dict(type='TestLoop')
