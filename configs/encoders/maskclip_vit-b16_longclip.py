# The file is the user's to give, as the checkpoint: longclip-B.pt with room for 248 tokens.
_base_ = ['../_base_/models/encoders.py', '../_base_/protocols/encoders.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='random'), **_base_.settings)
