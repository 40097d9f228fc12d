# ClearCLIP's protocol; its authors name one threshold for plain CLIP (their issue 2).
_base_ = ['../_base_/models/clip.py', '../_base_/protocols/clearclip.py']

model = dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'), **_base_.settings)
if _base_.on == 'voc21':
    model['vocabulary'] = dict(
        _base_.settings.vocabulary, rejection=dict(kind='class_zero', threshold=0.2)
    )
