# What configs of detectors share beside the default runtime.
_base_ = ['./default_runtime.py']
# The second one imports mmdet's data sets and metrics, which segmentation does without.
custom_imports = dict(imports=['ovseg', 'ovseg.training.detectors'], allow_failed_imports=False)
visualizer = dict(type='mmdet.DetLocalVisualizer')
