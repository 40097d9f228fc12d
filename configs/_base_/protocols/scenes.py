# The words of Scenes; objects are as large as in training.
_base_ = '../datasets/scenes.py'

vocabulary = [
    *['sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor'],
    *['star', 'heart', 'ball', 'donut', 'flower', 'fish', 'mushroom', 'kite', 'leaf', 'target'],
]
test_dataloader = dict(dataset=dict(resize=dict(scale=(144, 144), keep_ratio=True)))
