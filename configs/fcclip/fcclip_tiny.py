# The tiny FC-CLIP of fcclip_tiny_scenes.py is tested with it: give the checkpoint of its decoder,
# and the CLIP that it was trained on in model.clip.pretrained.
_base_ = [
    '../_base_/models/fcclip_tiny.py',
    '../_base_/datasets/{{$OVSEG_ON:scenes}}.py',
    '../_base_/default_runtime.py',
]

on_choices = ['scenes', 'scenes_panoptic', 'images']
# What the decoder learnt; asked with other words, too.
seen = ['sky', 'grass', 'water', 'snow', 'wooden floor']
seen += ['star', 'heart', 'ball', 'fish', 'leaf', 'target']
model = dict(
    ensemble=dict(weight=0.4, unseen_weight=0.8, seen=seen),
    vocabulary=_base_.words,
)
# Objects are as large as in training.
resize = dict(scale=(384, 192), keep_ratio=True)
if _base_.on != 'images':
    groups = dict(seen=seen, unseen=_base_.unseen)
    test_dataloader = dict(dataset=dict(resize=resize))
    test_evaluator = [dict(type='OVIoUMetric', groups=groups)]
    if _base_.on == 'scenes_panoptic':
        test_evaluator = [
            dict(type=metric, groups=groups) for metric in ('PanopticQualityMetric', 'MaskAPMetric')
        ]
    del groups
