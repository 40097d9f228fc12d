# The tiny FC-CLIP with GKC's training words: drawn synonyms, and relations kept as CLIP has them.
_base_ = './fcclip_tiny_scenes.py'

model = dict(proposals=dict(relation_weight=10.0), drawn_words=dict(synonym_probability=0.1))
