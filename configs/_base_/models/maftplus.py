# MAFT+ as released: FC-CLIP's network with 100 queries, whose CLIP is tuned.
_base_ = './fcclip.py'

model = dict(type='MAFTPlus', proposals=dict(num_queries=100), transfer=dict(num_heads=8))
