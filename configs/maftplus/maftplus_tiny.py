# The tiny MAFT+ of maftplus_tiny_scenes.py is tested with it: give its checkpoint. None ships.
_base_ = '../fcclip/fcclip_tiny.py'

model = dict(type='MAFTPlus', ensemble=None, transfer=dict(num_heads=4))
load_from = None
