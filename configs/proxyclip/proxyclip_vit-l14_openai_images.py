# For any images: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/proxyclip_vit-l14_openai.py', '../_base_/default_runtime.py']

resize = dict(scale=(2048, 336), keep_ratio=True)
