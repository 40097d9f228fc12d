"""COCO-Stuff 164k train, 171 classes, for MaskCLIP+."""

_base_ = '../pipelines/maskclip_plus_512x512.py'
train_dataloader = dict(
    dataset=dict(
        type='COCOStuff164kDataset',
        data_root='data/coco_stuff164k',
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    )
)
