_base_ = [
    '../_base_/models/sclip_vit-b16_openai.py',
    '../_base_/protocols/sclip_coco_object.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, text=dict(logit_scale=_base_.logit_scale))
