# MAFT+'s published panoptic data set; the words are FC-CLIP's.
_base_ = ['../datasets/{{$OVSEG_ON:ade20k_panoptic}}.py', '../default_runtime.py']

on_choices = ['ade20k_panoptic', 'images']
settings = dict()
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset='ade20k', protocol='fcclip')
resize = dict(type='AntialiasedResize', scale=(1333, 800))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
