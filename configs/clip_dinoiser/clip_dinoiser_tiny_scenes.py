_base_ = [
    '../_base_/models/clip_dinoiser_tiny.py',
    '../_base_/datasets/scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=[
        *['sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor'],
        *['star', 'heart', 'ball', 'donut', 'flower', 'fish', 'mushroom', 'kite', 'leaf', 'target'],
    ]
)
test_dataloader = dict(dataset=dict(resize=dict(scale=(144, 144), keep_ratio=True)))
