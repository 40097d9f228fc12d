# FC-CLIP's training with masks that follow the words (PMP); no weights are published. A step asks
# for the classes of its images and 40 others of the 133.
_base_ = './fcclip_convnext-l_8xb2_368k_coco_panoptic.py'

model = dict(proposals=dict(text_guided=True), drawn_words=dict(absent_classes=40))
