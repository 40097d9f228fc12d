# OVSeg's published settings: how much the regions count against the proposals' own classes. The
# images of ADE-847 are those that its preparation shrank to 512 pixels.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(weight=0.45),
    context59=dict(weight=0.6, words=dict(in_label_order=True)),  # OVSeg lists them in another
    context459=dict(weight=0.6),
    ade20k=dict(weight=0.7),
    ade847=dict(weight=0.7),
    # Not published; the weight is ADE20K's, and COCO's words are FC-CLIP's.
    ade20k_panoptic=dict(weight=0.7, words=dict(dataset='ade20k')),
    coco_panoptic=dict(weight=0.7, words=dict(protocol='fcclip')),
    coco_things=dict(weight=0.7, words=None),  # the data set's own names
    images=dict(weight=0.7),
)
row, on_choices = published[_base_.on], list(published)
settings = dict(ensemble=dict(weight=row['weight']))
words = row.get('words', {})
if _base_.on != 'images' and words is not None:
    settings['vocabulary'] = {'dataset': _base_.on, 'protocol': 'ovseg', **words}
del published, row, words
