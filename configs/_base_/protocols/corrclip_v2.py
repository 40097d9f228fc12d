# CorrCLIP's settings of version 2: sides, windows, and folders of region maps.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(side=336, window=336, maps='voc'),
    context59=dict(side=336, window=336, maps='context'),
    coco_stuff164k=dict(side=336, window=336, maps='coco'),
    cityscapes=dict(side=784, window=224, maps='city'),
    ade20k=dict(side=448, window=336, maps='ade'),
    voc21=dict(side=336, window=336, maps='voc', threshold=0.2),
    context60=dict(side=336, window=336, maps='context', threshold=0.15),
    coco_object=dict(side=336, window=336, maps='coco', threshold=0.25),
    context459=dict(side=336, window=336, maps='context'),
    ade847=dict(side=448, window=336, maps='ade847'),
    images=dict(side=336, window=336),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, row['side']), keep_ratio=True)
settings = dict(test_cfg=dict(crop_size=(row['window'], row['window'])))
region_maps = None
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='corrclip_v2')
    if 'threshold' in row:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row['threshold'])
    region_maps = dict(type='RegionFolder', folder=f'data/instance_mask/{row["maps"]}')
    test_dataloader = dict(dataset=dict(resize=resize, keep_original=True))
del published, row
