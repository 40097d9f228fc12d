# Pairs of colour and object that training never saw, asked for without the colour, as on val.
_base_ = './maskclip_tiny_scenes.py'
test_dataloader = dict(dataset=dict(split='heldout'))
