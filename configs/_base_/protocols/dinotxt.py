# The settings of DINOv3's notebook for dino.txt, which is of ADE20K; other data sets are asked
# alike, in others' words.
_base_ = './tipsv2.py'

resize = dict(scale=(99999, 512))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
if _base_.on == 'ade20k':
    settings = dict(vocabulary=dict(protocol='maskclip'))
