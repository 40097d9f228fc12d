# FC-CLIP's published settings: CLIP's own classes count 0.4 where the decoder was trained with a
# class, 0.8 elsewhere. Where things and stuff are told apart, too, masks are resized to the image's
# own size before they are summed up, elsewhere after it.
_base_ = ['../datasets/{{$OVSEG_ON:ade20k}}.py', '../default_runtime.py']

published = dict(
    ade20k=dict(words='ade20k'),
    ade20k_panoptic=dict(words='ade20k'),
    coco_panoptic=dict(words='coco_panoptic'),
    cityscapes=dict(words='cityscapes', scale=(2560, 1024)),
    cityscapes_panoptic=dict(words='cityscapes', scale=(2560, 1024)),
    mapillary_panoptic=dict(words='mapillary_panoptic', scale=(2560, 1024)),
    ade847=dict(words='ade847', masks_first=False),
    context459=dict(words='context459', masks_first=False),
    context59=dict(words='context59', masks_first=False),
    voc20=dict(words='voc20', masks_first=False),
    voc21=dict(words='voc21', masks_first=False),
    images=dict(),
)
row, on_choices = published[_base_.on], list(published)
seen = dict(dataset='coco_panoptic', protocol='fcclip')
settings = dict(
    ensemble=dict(weight=0.4, unseen_weight=0.8, seen=seen),
    resize_masks_first=row.get('masks_first', True),
)
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=row['words'], protocol='fcclip')
resize = dict(type='AntialiasedResize', scale=row.get('scale', (1333, 800)))
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
del published, row, seen
