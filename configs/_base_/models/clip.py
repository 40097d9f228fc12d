# CLIP's own last block, every patch read in the text space: the baseline, as ClearCLIP runs it.
_base_ = './clearclip.py'

model = dict(encoder=dict(last_block='vanilla'))
