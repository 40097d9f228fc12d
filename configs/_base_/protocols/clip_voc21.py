# ClearCLIP's protocol; its authors name this threshold for plain CLIP (their issue 2).
_base_ = './clearclip_voc21.py'

vocabulary = dict(rejection=dict(threshold=0.2))
