# The refinement by SAM 2.1; the correlation stays SAM 1's. No number is published.
_base_ = ['../_base_/models/trident.py', '../_base_/protocols/trident.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
model['refinement'] = dict(model['refinement'], sam=dict(model='facebook/sam2.1-hiera-large'))
