# SCLIP's published settings: the shorter side and the temperature of a data set.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(side=336, scale=40),
    context59=dict(side=336, scale=40),
    coco_stuff164k=dict(side=448, scale=40),
    cityscapes=dict(side=560, scale=40),
    ade20k=dict(side=336, scale=40),
    voc21=dict(side=336, scale=65, threshold=0.1, min_area=0.1),
    context60=dict(side=336, scale=50, threshold=0.1),
    coco_object=dict(side=336, scale=50, threshold=0.1),
    images=dict(side=336, scale=40),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, row['side']), keep_ratio=True)
settings = dict(text=dict(logit_scale=row['scale']))
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='sclip')
    rejection = {key: row[key] for key in ('threshold', 'min_area') if key in row}
    if rejection:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', **rejection)
    del rejection
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row
