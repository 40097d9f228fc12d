# For drawings like those of Scenes: the words come from the command line or set_vocabulary.
_base_ = ['../_base_/models/maskclip_tiny.py', '../_base_/default_runtime.py']

# Scenes are seen at 144 pixels; windows of the trained size move over them.
resize = dict(scale=(288, 144), keep_ratio=True)
