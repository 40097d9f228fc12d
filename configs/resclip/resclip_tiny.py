# Of the three blocks of the tiny CLIP, the second stands where 6 to 9 of 12 do.
_base_ = ['../_base_/models/resclip.py', '../_base_/protocols/tiny.py']

model = dict(encoder=dict(last_block=dict(earlier_blocks=(2,))), **_base_.settings)
