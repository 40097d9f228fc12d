# Phrases as classes: ten pairs of colour and object that training never saw, then ten it did.
_base_ = './maskclip_tiny_scenes.py'
model = dict(
    vocabulary=[
        *['sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor'],
        *['red star', 'blue heart', 'green ball', 'purple donut', 'orange flower'],
        *['yellow fish', 'pink mushroom', 'black kite', 'red leaf', 'blue target'],
        *['blue star', 'red heart', 'purple ball', 'pink donut', 'yellow flower'],
        *['orange fish', 'red mushroom', 'green kite', 'green leaf', 'black target'],
    ]
)
test_dataloader = dict(dataset=dict(type='ScenesPhrasesDataset', split='phrases'))
