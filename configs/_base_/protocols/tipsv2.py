# The settings of TIPSv2's zero-shot notebook, which is of ADE20K; other data sets are asked alike,
# in others' words. No number is published for them.
_base_ = ['../datasets/{{$OVSEG_ON:ade20k}}.py', '../default_runtime.py']

words = dict(
    ade20k='tipsv2',
    voc20='maskclip',
    context59='maskclip',
    coco_stuff164k='maskclip',
    cityscapes='maskclip',
    voc21='clip_dinoiser',
    context60='clip_dinoiser',
    coco_object='clip_dinoiser',
    context459='corrclip_v2',
    ade847='ovseg',
    images=None,
)
on_choices = list(words)
# The shorter side has 448 pixels, whatever the longer one.
resize = dict(
    scale=(99999, 448), keep_ratio=True, antialias=True, interpolation='bicubic', rounding='down'
)
settings = {}
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol=words[_base_.on])
    test_dataloader = dict(dataset=dict(resize=resize))
del words
