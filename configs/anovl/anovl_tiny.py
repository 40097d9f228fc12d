# The tiny CLIP that ships with ovseg knows no word for a defect: a scratch is "red things" to it.
_base_ = [
    '../_base_/models/anovl.py',
    '../_base_/datasets/mvtec.py',
    '../_base_/default_runtime.py',
]

model = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    states=dict(
        normal=['{}', 'a {}'],
        abnormal=['a red star', 'a red heart', 'a red leaf', 'a red kite', 'a red fish'],
    ),
    adapter=dict(steps=5, rate=1e-3),
)
resize = dict(scale=(64, 64), keep_ratio=False)
test_dataloader = dict(dataset=dict(resize=resize))
test_evaluator = dict(size=None)
