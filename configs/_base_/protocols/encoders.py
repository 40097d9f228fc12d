# Nobody publishes numbers of these encoders under one protocol. This one is ClearCLIP's, on its
# data sets without a background class: thresholds of background go with CLIP's temperature.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

on_choices = ['voc20', 'context59', 'coco_stuff164k', 'cityscapes', 'ade20k', 'images']
resize = dict(scale=(2048, 448), keep_ratio=True)
settings = {}
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='clearclip')
    test_dataloader = dict(dataset=dict(resize=resize))
