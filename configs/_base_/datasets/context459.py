"""Pascal Context val, all 459 classes."""

_base_ = './label_maps.py'
on = 'context459'
data_root = 'data/VOCdevkit/VOC2010'
test_dataloader = dict(
    dataset=dict(
        type='Context459Dataset',
        data_root=data_root,
        ann_file='pascalcontext_val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='annotations_detectron2/pc459_val'),
    )
)
# Published numbers on this set are means over the classes that are labelled.
test_evaluator = dict(headline='mIoU_present')
