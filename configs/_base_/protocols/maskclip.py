# MaskCLIP's published settings: the largest size of a data set's images, and whose words are asked.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20=dict(scale=(2048, 512)),
    context59=dict(scale=(520, 520)),
    coco_stuff164k=dict(scale=(2048, 512)),
    cityscapes=dict(scale=(1024, 512)),
    ade20k=dict(scale=(2048, 512)),
    # No number is published on these: resized as the nearest one, asked for others' words.
    voc21=dict(scale=(2048, 512), words='clip_dinoiser'),
    context60=dict(scale=(520, 520), words='clip_dinoiser'),
    coco_object=dict(scale=(2048, 512), words='clip_dinoiser'),
    context459=dict(scale=(520, 520), words='corrclip_v2'),
    ade847=dict(scale=(2048, 512), words='ovseg'),
    images=dict(scale=(2048, 512)),
)
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=row['scale'], keep_ratio=True)
settings = {}
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol=row.get('words', 'maskclip'))
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row
