# For any images, regions by SAM: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/corrclip_vit-b16_metaclip.py', '../_base_/default_runtime.py']

resize = dict(scale=(2048, 336), keep_ratio=True)
