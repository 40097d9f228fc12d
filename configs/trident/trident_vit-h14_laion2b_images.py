# For any images: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/trident_vit-h14_laion2b.py', '../_base_/default_runtime.py']

resize = dict(scale=(2048, 448), keep_ratio=True)
