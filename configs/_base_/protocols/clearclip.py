# ClearCLIP's published settings: shorter sides of 448 pixels, windows of `window`.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(window=448),
    context59=dict(window=448),
    coco_stuff164k=dict(window=448),
    cityscapes=dict(window=224),
    ade20k=dict(window=448),
    voc21=dict(window=448, threshold=0.5),
    context60=dict(window=448, threshold=0.15),
    coco_object=dict(window=448, threshold=0.4),
    images=dict(window=448),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, 448), keep_ratio=True)
settings = dict(test_cfg=dict(crop_size=(row['window'], row['window'])))
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='clearclip')
    if 'threshold' in row:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row['threshold'])
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row
