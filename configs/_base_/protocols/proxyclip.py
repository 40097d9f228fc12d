# ProxyCLIP's published settings: the shorter side and the window of a data set.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(side=336, window=336),
    context59=dict(side=336, window=336),
    coco_stuff164k=dict(side=336, window=336),
    cityscapes=dict(side=448, window=224),
    ade20k=dict(side=448, window=336),
    voc21=dict(side=336, window=336, threshold=0.2),
    context60=dict(side=336, window=336, threshold=0.15),
    coco_object=dict(side=336, window=336, threshold=0.25),
    context459=dict(side=448, window=336),
    ade847=dict(side=448, window=336),
    images=dict(side=336, window=336),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, row['side']), keep_ratio=True)
settings = dict(test_cfg=dict(crop_size=(row['window'], row['window'])))
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='proxyclip')
    if 'threshold' in row:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row['threshold'])
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row
