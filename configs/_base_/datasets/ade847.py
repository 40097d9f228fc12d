"""ADE20K full release val, 847 classes."""

_base_ = './label_maps.py'
on = 'ade847'
data_root = 'data/ade/ADE20K_2021_17_01'
test_dataloader = dict(
    dataset=dict(
        type='ADE847Dataset',
        data_root=data_root,
        data_prefix=dict(
            img_path='images_detectron2/validation',
            seg_map_path='annotations_detectron2/validation',
        ),
    )
)
# Published numbers on this set are means over the classes that are labelled.
test_evaluator = dict(headline='mIoU_present')
