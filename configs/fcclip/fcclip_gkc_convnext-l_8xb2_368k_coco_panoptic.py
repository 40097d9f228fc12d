# FC-CLIP's training with GKC's words: drawn synonyms, and relations kept as CLIP has them. GKC's
# constants; no weights are published.
_base_ = './fcclip_convnext-l_8xb2_368k_coco_panoptic.py'

model = dict(proposals=dict(relation_weight=10.0), drawn_words=dict(synonym_probability=0.1))
