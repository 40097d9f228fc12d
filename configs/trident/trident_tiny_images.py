# For drawings like those of Scenes: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/trident_tiny.py', '../_base_/default_runtime.py']

resize = dict(scale=(288, 144), keep_ratio=True)
