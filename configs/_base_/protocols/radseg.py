# RADSeg's published settings at its middle resolution. It is published for the first five; the
# others are asked alike, at Trident's sizes.
_base_ = ['../datasets/{{$OVSEG_ON:ade20k}}.py', '../default_runtime.py']

# Shorter side at low, middle and high resolution.
published = dict(
    voc20=dict(sides=(336, 336, 672), stride=112),
    context59=dict(sides=(336, 576, 672), longest=(2048, 4096, 2016)),
    coco_stuff164k=dict(sides=(336, 448, 896), longest=(2048, 2048, 1334)),
    cityscapes=dict(sides=(560, 688, 1344), longest=(2048, 2048, 2688)),
    ade20k=dict(sides=(336, 576, 672)),
    voc21=dict(sides=(336, 448, 672), threshold=0.2),
    context60=dict(sides=(336, 576, 672), threshold=0.15),
    coco_object=dict(sides=(336, 448, 896), threshold=0.25),
    context459=dict(sides=(336, 448, 672)),
    ade847=dict(sides=(336, 448, 672)),
    images=dict(sides=(336, 448, 672)),
)
row, on_choices = dict(published[_base_.on]), list(published)
longest = row.get('longest', (2048, 2048, 2016))
scales = {name: (longest[i], row['sides'][i]) for i, name in enumerate(('low', 'mid', 'high'))}
resize = dict(scale=scales['mid'], keep_ratio=True)
settings = dict(test_cfg=dict(stride=(row.get('stride', 224),) * 2))
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='trident')
    if 'threshold' in row:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row['threshold'])
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row, longest
