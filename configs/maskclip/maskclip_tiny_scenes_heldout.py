# Scenes whose objects all have a colour that training never saw them in; classes as on val.
_base_ = './maskclip_tiny_scenes.py'
test_dataloader = dict(dataset=dict(split='heldout'))
