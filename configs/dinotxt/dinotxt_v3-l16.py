_base_ = ['../_base_/models/dinotxt.py', '../_base_/protocols/dinotxt.py']

model = dict(clip=dict(model='dinov3_vitl16_dinotxt_tet1280d20h24l'), **_base_.settings)
