# MAFT+'s published data sets; the words are FC-CLIP's.
_base_ = ['../datasets/{{$OVSEG_ON:ade20k}}.py', '../default_runtime.py']

on_choices = ['ade20k', 'ade847', 'context459', 'context59', 'voc20', 'coco_stuff164k', 'images']
settings = dict()
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='fcclip')
resize = dict(type='AntialiasedResize', scale=(1333, 800))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
# The release counts a class that is predicted but nowhere annotated, as 0.
if _base_.on in ('ade847', 'context459'):
    test_evaluator = dict(headline='mIoU')
