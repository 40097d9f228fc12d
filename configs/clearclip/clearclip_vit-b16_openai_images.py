# For any images: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/clearclip_vit-b16_openai.py', '../_base_/default_runtime.py']

resize = dict(scale=(2048, 448), keep_ratio=True)
