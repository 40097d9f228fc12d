# The tiny MAFT+ of maftplus_tiny_scenes.py is tested with it; see fcclip_tiny.py for the CLIP.
_base_ = '../fcclip/fcclip_tiny.py'

model = dict(type='MAFTPlus', ensemble=None, transfer=dict(num_heads=4))
