# A RetinaNet for the tiny CLIP: pyramid of 64 channels, ten classes, images of 192 x 192.
_base_ = './retinanet.py'
retinanet = dict(
    neck=dict(in_channels=[128, 128, 128, 128], out_channels=64),
    bbox_head=dict(in_channels=64, stacked_convs=2, feat_channels=64, num_classes=10),
    test_cfg=dict(nms_pre=200, max_per_img=50),
)
