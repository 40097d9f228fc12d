# For any images: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/ovseg_swin-b_vit-l14.py', '../_base_/default_runtime.py']
