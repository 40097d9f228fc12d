# Pairs of colour and object that training never saw, each asked for by its phrase.
_base_ = './maskclip_tiny_scenes.py'
model = dict(
    vocabulary=[
        *['sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor'],
        *['red star', 'blue heart', 'green ball', 'purple donut', 'orange flower'],
        *['yellow fish', 'pink mushroom', 'black kite', 'red leaf', 'blue target'],
    ]
)
test_dataloader = dict(dataset=dict(type='ScenesHeldoutDataset', split='heldout'))
