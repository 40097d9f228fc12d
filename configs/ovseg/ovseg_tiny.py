# OVSeg on Scenes: the tiny MaskFormer, and the tiny CLIP adapted to masked regions, as they ship;
# six of the classes are new to its MaskFormer.
_base_ = [
    '../_base_/models/ovseg_maskformer_tiny.py',
    '../_base_/datasets/{{$OVSEG_ON:scenes}}.py',
    '../_base_/default_runtime.py',
]

on_choices = ['scenes', 'scenes_panoptic', 'images']
model = dict(
    adapted='ovseg://ovseg_clip_tiny_scenes',
    mask_prompts=2,
    regions=dict(threshold=0.4),
    ensemble=dict(weight=0.0),  # the MaskFormer's own classes are those of its training
    vocabulary=_base_.words,
)
load_from = 'ovseg://ovseg_tiny_scenes'
# Objects are as large as in training.
resize = dict(scale=(384, 192), keep_ratio=True)
if _base_.on != 'images':
    groups = dict(
        seen=[word for word in _base_.words if word not in _base_.unseen], unseen=_base_.unseen
    )
    test_dataloader = dict(dataset=dict(resize=resize))
    test_evaluator = [dict(type='OVIoUMetric', groups=groups)]
    if _base_.on == 'scenes_panoptic':
        test_evaluator = [
            dict(type=metric, groups=groups) for metric in ('PanopticQualityMetric', 'MaskAPMetric')
        ]
    del groups
