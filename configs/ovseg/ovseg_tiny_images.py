# For drawings like those of Scenes: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/ovseg_tiny.py', '../_base_/default_runtime.py']

load_from = 'ovseg://ovseg_tiny_scenes'
# Objects are as large as in training.
resize = dict(scale=(384, 192), keep_ratio=True)
