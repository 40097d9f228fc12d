# NACLIP's published settings; its words are SCLIP's.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(side=336, mode='whole'),
    context59=dict(side=336, mode='slide'),
    coco_stuff164k=dict(side=336, mode='slide'),
    cityscapes=dict(side=560, mode='slide'),
    ade20k=dict(side=336, mode='slide'),
    voc21=dict(side=336, mode='whole', threshold=0.1),
    context60=dict(side=336, mode='slide', threshold=0.1),
    coco_object=dict(side=336, mode='slide', threshold=0.1),
    images=dict(side=336, mode='slide'),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, row['side']), keep_ratio=True)
settings = dict(test_cfg=dict(mode=row['mode']))
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='sclip')
    if 'threshold' in row:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row['threshold'])
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row
