# What DINOv3's released notebook takes: patches of the backbone, which were never aligned.
_base_ = './dinotxt_v3-l16.py'

model = dict(clip=dict(reading='backbone'))
