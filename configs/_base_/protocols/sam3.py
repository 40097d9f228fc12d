# Settings of SegEarth-OV3's release for the eight common data sets, whose words ActiveSAM and
# ConceptBank take, too. Images reach SAM 3 at their own size.
_base_ = ['../datasets/{{$OVSEG_ON:voc21}}.py', '../default_runtime.py']

published = dict(
    voc21=dict(confidence=0.5, segearth=0.4, activesam=0.4, conceptbank=0.5),
    context60=dict(confidence=0.3, segearth=0.1, activesam=0.1, conceptbank=0.5),
    coco_object=dict(confidence=0.5, segearth=0.4, activesam=0.4, conceptbank=0.5),
    voc20=dict(confidence=0.2),
    context59=dict(confidence=0.3),
    coco_stuff164k=dict(confidence=0.2),
    cityscapes=dict(confidence=0.3),
    ade20k=dict(confidence=0.3),
    images=dict(confidence=0.5),
)
row, on_choices = dict(published[_base_.on]), list(published)
# SegEarth-OV3 has a confidence a data set, the others 0.3 everywhere.
segearth = dict(fusion=dict(confidence=row['confidence']))
activesam = dict(rule='activesam')
conceptbank = dict(rule='conceptbank')
settings = dict(segearth=segearth, activesam=activesam, conceptbank=conceptbank)
if _base_.on != 'images':
    for name, given in settings.items():
        given['vocabulary'] = dict(dataset=_base_.on, protocol='segearth')
        if name in row:
            given['vocabulary']['rejection'] = dict(kind='class_zero', threshold=row[name])
    del name, given
del published, row, segearth, activesam, conceptbank
