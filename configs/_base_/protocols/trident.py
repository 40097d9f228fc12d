# Trident's published settings. The release has words and settings of the last two data sets, too;
# its table has no number for them.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(
        side=336, coarse=0.2, correlation=dict(cosine_factor=0.0), test_cfg=dict(stride=(112, 112))
    ),
    context59=dict(side=576, coarse=0.15),
    coco_stuff164k=dict(side=448, coarse=0.05),
    cityscapes=dict(
        side=688,
        coarse=0.1,
        correlation=dict(cosine_factor=3.0, keep_negative_thresholds=False),
        sam_columns=2,
    ),
    ade20k=dict(side=576, coarse=0.05, correlation=dict(keep_negative_thresholds=False)),
    voc21=dict(side=448, coarse=0.2, threshold=0.2),
    context60=dict(side=576, coarse=0.15, threshold=0.15),
    coco_object=dict(side=448, coarse=0.25, threshold=0.25),
    context459=dict(side=448, coarse=0.2),
    ade847=dict(side=448, coarse=0.2),
    images=dict(side=448, coarse=0.2),
)
row, on_choices = dict(published[_base_.on]), list(published)
resize = dict(scale=(2048, row.pop('side')), keep_ratio=True)
threshold = row.pop('threshold', None)
settings = dict(refinement=dict(coarse_threshold=row.pop('coarse')), **row)
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol='trident')
    if threshold is not None:
        settings['vocabulary']['rejection'] = dict(kind='class_zero', threshold=threshold)
    test_dataloader = dict(dataset=dict(resize=resize, keep_original=True))  # for SAM
del published, row, threshold
