_base_ = [
    '../_base_/models/light_tiny.py',
    '../_base_/datasets/light_scenes.py',
    '../_base_/schedules/light_tiny.py',
]

model = dict(learner=dict(kind='contexts', start='a'), vocabulary=_base_.words)
